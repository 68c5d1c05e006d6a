import type { Digest } from '../../model/castore/digest.ts'
import { concatBytes } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { MissingError, StoreError } from '../../support/errors.ts'
import { BLOB_READS_MAX, UNCHUNKED_BLOB_BYTES_MAX } from '../../support/limits.ts'
import type { BlobService, PlacedBlob } from './interface.ts'

/**
 * A whole blob in memory; `undefined` when it is absent. With `expectedSize` (bytes) a blob of another size is
 * `corrupt`. Throws `exhausted` above UNCHUNKED_BLOB_BYTES_MAX.
 */
export async function readBlob(
  blobs: BlobService,
  digest: Digest,
  expectedSize?: number,
  call?: Call,
): Promise<Uint8Array | undefined> {
  const limit = Math.min(expectedSize ?? UNCHUNKED_BLOB_BYTES_MAX, UNCHUNKED_BLOB_BYTES_MAX)
  if (expectedSize !== undefined && expectedSize > limit) throw tooLarge(digest)
  const stream = await blobs.openRead(digest, call)
  if (!stream) return undefined
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of stream) {
    size += piece.length
    if (size > limit)
      throw expectedSize === undefined ? tooLarge(digest) : wrongSize(digest, expectedSize, `more`)
    pieces.push(piece)
  }
  if (expectedSize !== undefined && size !== expectedSize) throw wrongSize(digest, expectedSize, `${size}`)
  return pieces.length === 1 ? pieces[0] : concatBytes(pieces, size)
}

/**
 * Puts blobs into their places in a buffer. Throws as `readBlob` does, and `corrupt` for one that is absent. The caller
 * bounds how large they are together, and leaves the places alone until this has settled.
 */
export async function readBlobsInto(
  blobs: BlobService,
  target: Uint8Array,
  wanted: readonly PlacedBlob[],
  call?: Call,
): Promise<void> {
  if (wanted.length === 0) return
  const left = blobs.readInto ? await blobs.readInto(target, wanted, call) : wanted
  const one = async ({ digest, size, offset }: PlacedBlob, inner: Call) => {
    const bytes = await readBlob(blobs, digest, size, inner)
    if (!bytes) throw new MissingError(`blob ${digest}`)
    target.set(bytes, offset)
  }
  for await (const _ of mapConcurrent(left, BLOB_READS_MAX, one, call));
}

function tooLarge(digest: Digest): StoreError {
  const limit = UNCHUNKED_BLOB_BYTES_MAX
  return new StoreError(
    'exhausted',
    `blob ${digest} is too large to be held in memory (limit ${limit} bytes)`,
  )
}

function wrongSize(digest: Digest, expected: number, found: string): StoreError {
  return new StoreError('corrupt', `blob ${digest} should have ${expected} bytes and has ${found}`)
}
