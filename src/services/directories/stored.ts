import type { Digest } from '../../model/castore/digest.ts'
import { Directory } from '../../model/castore/directory.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import { DIRECTORY_BYTES_MAX } from '../../support/limits.ts'

/** The bytes to store. Throws `invalid-argument` when there are so many that nobody would read them back. */
export function encodeForStorage(directory: Directory): Uint8Array {
  const { encoded } = directory
  if (encoded.length > DIRECTORY_BYTES_MAX)
    throw new StoreError(
      'invalid-argument',
      `directory ${directory.digest} encodes to ${encoded.length} bytes; the limit is ${DIRECTORY_BYTES_MAX}`,
    )
  return encoded
}

/** A directory out of storage. What does not decode there is the storage's fault: `corrupt`. */
export function decodeStored(bytes: Uint8Array, digest: Digest, source: string): Directory {
  try {
    return Directory.decode(bytes)
  } catch (error) {
    const { message } = withContext(`${source}: directory ${digest} does not decode`, error)
    throw new StoreError('corrupt', message, { cause: error })
  }
}
