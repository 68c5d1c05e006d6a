import type { Source } from '../source-set.ts'
import type { WriteQueue } from '../write-queue.ts'
import type { PathInfoService } from './interface.ts'

/**
 * Stores in `near`, which must be durable, and in `far` later. The queue is to be the one of the blobs and
 * directories, too: then far has those first.
 */
export function writeBackPathInfoService(
  reads: PathInfoService,
  near: Source<PathInfoService>,
  far: Source<PathInfoService>,
  queue: WriteQueue,
): PathInfoService {
  queue.register('pathInfo', async (key, call) => {
    const found = await near.service.get(key, call)
    // Noted, but never stored: whoever put it was told so.
    if (found) await far.service.put(found, call)
  })
  return {
    get: (outputHash, call) => reads.get(outputHash, call),
    list: (call) => reads.list(call),
    async put(pathInfo, call) {
      const ready = await queue.add('pathInfo', pathInfo.storePath.digest)
      try {
        return await near.service.put(pathInfo, call)
      } finally {
        ready()
      }
    },
  }
}
