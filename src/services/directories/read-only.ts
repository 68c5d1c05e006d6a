import { StoreError } from '../../support/errors.ts'
import type { DirectoryService } from './interface.ts'

/** `base` without the writing. */
export function readOnlyDirectoryService(base: DirectoryService, name: string): DirectoryService {
  const refusal = () =>
    new StoreError('denied', `${name} is read-only here: no directories can be stored in it`)
  return {
    get: (digest, call) => base.get(digest, call),
    getRecursive: (digest, call) => base.getRecursive(digest, call),
    put: async () => {
      throw refusal()
    },
    startPutter() {
      throw refusal()
    },
  }
}
