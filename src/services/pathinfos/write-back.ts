import type { PathInfo } from '../../model/nix/path-info.ts'
import { equalBytes } from '../../support/bytes.ts'
import type { CheckNotRefused } from '../refused-uploads.ts'
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
  queue.register('pathInfo', async (key, call, check) => {
    const found = await near.service.get(key, call)
    // Noted, but never stored: whoever put it was told so.
    if (!found) return
    checkContents(found, check)
    await far.service.put(found, call)
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

/** Of what it is made, and the paths that it refers to. */
function checkContents({ node, storePath, references }: PathInfo, check: CheckNotRefused): void {
  if (node.kind === 'file') check('blob', node.digest.bytes)
  if (node.kind === 'directory') check('directory', node.digest.bytes)
  for (const { digest } of references) if (!equalBytes(digest, storePath.digest)) check('pathInfo', digest)
}
