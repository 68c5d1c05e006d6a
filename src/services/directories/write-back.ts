import { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { Call } from '../../support/call.ts'
import type { CheckNotRefused } from '../refused-uploads.ts'
import type { Source } from '../source-set.ts'
import type { WriteQueue } from '../write-queue.ts'
import { closurePutter } from './closure-putter.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'
import { leavesToRoot } from './leaves-to-root.ts'

/**
 * Stores in `near`, which must be durable, and in `far` later, closure by closure. That one is to be sent is noted
 * before near shows it.
 */
export function writeBackDirectoryService(
  reads: DirectoryService,
  near: Source<DirectoryService>,
  far: Source<DirectoryService>,
  queue: WriteQueue,
): DirectoryService {
  queue.register('directory', (key, call, check) =>
    send(Digest.fromBytes(key), near.service, far.service, call, check),
  )
  const noting = async <T>(root: Digest, store: () => Promise<T>): Promise<T> => {
    const ready = await queue.add('directory', root.bytes)
    try {
      return await store()
    } finally {
      ready()
    }
  }
  return {
    get: (digest, call) => reads.get(digest, call),
    getRecursive: (digest, call) => reads.getRecursive(digest, call),
    put: (directory, call) => noting(directory.digest, () => near.service.put(directory, call)),
    startPutter: (call): DirectoryPutter => {
      const putter = near.service.startPutter(call)
      // Near may show a directory as soon as it is put: all of them are held until the root is known and noted.
      const sent: Directory[] = []
      const checked = closurePutter(async ({ root }) => {
        await noting(root, async () => {
          for (const directory of sent) await putter.put(directory)
          return await putter.close()
        })
      }, call)
      return {
        async put(directory) {
          await checked.put(directory)
          sent.push(directory)
        },
        close: () => checked.close(),
      }
    },
  }
}

async function send(
  root: Digest,
  near: DirectoryService,
  far: DirectoryService,
  call: Call,
  check: CheckNotRefused,
): Promise<void> {
  const closure: Directory[] = []
  for await (const directory of near.getRecursive(root, call)) {
    for (const { node } of directory.entries) {
      if (node.kind === 'file') check('blob', node.digest.bytes)
      if (node.kind === 'directory') check('directory', node.digest.bytes)
    }
    closure.push(directory)
  }
  // Noted, but never stored: whoever put it was told so.
  if (closure.length === 0) return
  const putter = far.startPutter(call)
  for (const directory of leavesToRoot(root, closure)) await putter.put(directory)
  await putter.close()
}
