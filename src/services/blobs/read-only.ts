import { StoreError } from '../../support/errors.ts'
import type { BlobService } from './interface.ts'

/** `base` without the writing. */
export function readOnlyBlobService(base: BlobService, name: string): BlobService {
  return {
    has: (digest, call) => base.has(digest, call),
    chunks: (digest, call) => base.chunks(digest, call),
    openRead: (digest, call) => base.openRead(digest, call),
    openWrite() {
      throw new StoreError('denied', `${name} is read-only here: no blobs can be stored in it`)
    },
  }
}
