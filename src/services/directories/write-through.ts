import type { Directory } from '../../model/castore/directory.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'

/**
 * Stores in `far`, and in `near` as well: a directory counts as stored when far has it, whatever happened to the copy
 * nearby. Reads are those of `cache`, which stands over the same two.
 */
export function writeThroughDirectoryService(
  cache: DirectoryService,
  near: Source<DirectoryService>,
  far: Source<DirectoryService>,
  faults: Pick<SourceSet<DirectoryService>, 'failed'>,
): DirectoryService {
  const tryNear = async (work: () => Promise<unknown>) => {
    try {
      await work()
    } catch (error) {
      faults.failed(near, error)
    }
  }
  return {
    get: (digest, call) => cache.get(digest, call),
    getRecursive: (digest, call) => cache.getRecursive(digest, call),
    async put(directory, call) {
      const digest = await far.service.put(directory, call)
      // Alone it would promise near a closure that may not be there.
      if (isLeaf(directory)) await tryNear(() => near.service.put(directory, call))
      return digest
    },
    startPutter(call): DirectoryPutter {
      const putter = far.service.startPutter(call)
      const sent: Directory[] = []
      return {
        async put(directory) {
          await putter.put(directory)
          sent.push(directory)
        },
        async close() {
          const root = await putter.close()
          await tryNear(async () => {
            const copy = near.service.startPutter(call)
            for (const directory of sent.splice(0)) await copy.put(directory)
            await copy.close()
          })
          return root
        },
      }
    },
  }
}

function isLeaf(directory: Directory): boolean {
  for (const _ of directory.children()) return false
  return true
}
