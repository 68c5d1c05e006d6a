import type { PathInfo } from '../../model/nix/path-info.ts'
import { hex } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { PathInfoService } from './interface.ts'

/**
 * Keeps near what far answered (spec §3.7, "cache"). A near that fails costs time and a line in the log; but absence
 * is said only when both answered. The listing is far's, which knows more. Takes no writes, as upstream:
 * `write-through` is for those.
 */
export function cachePathInfoService(
  near: Source<PathInfoService>,
  far: Source<PathInfoService>,
  set: Pick<SourceSet<PathInfoService>, 'failed'>,
): PathInfoService {
  const flights = new SingleFlight<string, PathInfo | undefined>()
  /** Survived, unless it is the caller who gave up. */
  const nearFailed = (error: unknown, call: Call | undefined): StoreError => {
    if (call?.signal?.aborted) throw StoreError.from(call.signal.reason)
    set.failed(near, error)
    return StoreError.from(error)
  }
  const fetch = async (outputHash: Uint8Array, call: Call) => {
    const found = await far.service.get(outputHash, call)
    if (found) await near.service.put(found, call).catch((error: unknown) => nearFailed(error, call))
    return found
  }
  return {
    async get(outputHash, call) {
      let failure: StoreError | undefined
      try {
        const known = await near.service.get(outputHash, call)
        if (known) return known
      } catch (error) {
        failure = nearFailed(error, call)
      }
      const found = await flights.run(hex(outputHash), (inner) => fetch(outputHash, inner), call)
      if (!found && failure) throw failure
      return found
    },
    async put() {
      throw new StoreError(
        'unimplemented',
        'a cache of path infos takes no writes: store in its far side, or use write-through',
      )
    },
    list: (call) => far.service.list(call),
  }
}
