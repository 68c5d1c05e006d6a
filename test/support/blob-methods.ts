import type { BlobService } from '../../src/services/blobs/interface.ts'

/** The methods of a service as an object of its own, some of which a test replaces. */
export function methodsOf(blobs: BlobService): BlobService {
  return {
    has: (digest, call) => blobs.has(digest, call),
    chunks: (digest, call) => blobs.chunks(digest, call),
    openRead: (digest, call) => blobs.openRead(digest, call),
    openWrite: (call) => blobs.openWrite(call),
  }
}
