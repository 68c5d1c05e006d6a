import type { PathInfo } from '../../model/nix/path-info.ts'
import type { Call } from '../../support/call.ts'
import type { PathInfoService } from './interface.ts'

/**
 * A service of our own, and behind it caches that are asked for what it lacks; they put what they found into `near`
 * themselves, as that goes on when the caller has left. Listed and written is `near` only.
 */
export function substitutingPathInfoService(
  near: PathInfoService,
  far: Pick<PathInfoService, 'get'>,
): PathInfoService {
  return {
    async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
      return (await near.get(outputHash, call)) ?? (await far.get(outputHash, call))
    },
    put: (pathInfo: PathInfo, call?: Call) => near.put(pathInfo, call),
    list: (call?: Call) => near.list(call),
  }
}
