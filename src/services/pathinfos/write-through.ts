import type { Source, SourceSet } from '../source-set.ts'
import type { PathInfoService } from './interface.ts'

/**
 * Stores in `far`, and what far made of it in `near` as well: it counts when far has it, whatever happened to the copy
 * nearby. Reads are those of `cache`, which stands over the same two.
 */
export function writeThroughPathInfoService(
  cache: PathInfoService,
  near: Source<PathInfoService>,
  far: Source<PathInfoService>,
  faults: Pick<SourceSet<PathInfoService>, 'failed'>,
): PathInfoService {
  return {
    get: (outputHash, call) => cache.get(outputHash, call),
    list: (call) => cache.list(call),
    async put(pathInfo, call) {
      const stored = await far.service.put(pathInfo, call)
      await near.service.put(stored, call).catch((error: unknown) => faults.failed(near, error))
      return stored
    },
  }
}
