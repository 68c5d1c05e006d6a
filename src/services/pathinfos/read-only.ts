import { StoreError } from '../../support/errors.ts'
import type { PathInfoService } from './interface.ts'

/** `base` without the writing. */
export function readOnlyPathInfoService(base: PathInfoService, name: string): PathInfoService {
  return {
    get: (outputHash, call) => base.get(outputHash, call),
    list: (call) => base.list(call),
    async put() {
      throw new StoreError('denied', `${name} is read-only here: no path infos can be stored in it`)
    },
  }
}
