import { STORE_PATH_DIGEST_BYTES } from '../../model/nix/store-path.ts'
import type { pathInfoRpc } from '../../model/wire/services.ts'
import type { NarCalculation, PathInfoService } from '../../services/pathinfos/interface.ts'
import { MissingError, StoreError } from '../../support/errors.ts'
import { AbsenceError } from './absence.ts'
import type { Handlers } from './method-adapter.ts'

/** spec §2.4 */
export function pathInfoHandlers(
  pathInfos: PathInfoService,
  narCalculation: NarCalculation,
): Handlers<typeof pathInfoRpc> {
  return {
    async Get(outputHash, call) {
      if (!outputHash) throw new StoreError('unimplemented', 'by_what needs to be specified')
      if (outputHash.length !== STORE_PATH_DIGEST_BYTES)
        throw new StoreError('invalid-argument', 'invalid output digest length')
      const pathInfo = await pathInfos.get(outputHash, call)
      if (!pathInfo) throw new AbsenceError('PathInfo not found')
      return pathInfo
    },

    Put: (pathInfo, call) => pathInfos.put(pathInfo, call),

    async CalculateNAR(node, call) {
      try {
        return await narCalculation.calculateNar(node, call)
      } catch (error) {
        // The client named the node, and may not have uploaded all of it; damage is something else (spec §11.3).
        if (error instanceof MissingError) throw new AbsenceError(error.message, { cause: error })
        throw error
      }
    },

    List: (_request, call) => pathInfos.list(call),
  }
}
