import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import { StoreError } from '../../support/errors.ts'

/** The digest of a request, refused in the words of spec Appendix A. */
export function requireDigest(bytes: Uint8Array): Digest {
  if (bytes.length !== BLAKE3_BYTES) throw new StoreError('invalid-argument', 'invalid digest length')
  return Digest.fromBytes(bytes)
}
