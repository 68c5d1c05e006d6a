import type { Digest } from '../../model/castore/digest.ts'
import { concatBytes } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { BLOB_READS_MAX, UNCHUNKED_BLOB_BYTES_MAX } from '../../support/limits.ts'
import type { BlobService, SizedBlob } from './interface.ts'

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
 * Blobs of known sizes in memory, in their order; `undefined` for those that are absent. Throws as `readBlob` does. The
 * caller bounds how many there are and how large.
 */
export async function readBlobs(
  blobs: BlobService,
  wanted: readonly SizedBlob[],
  call?: Call,
): Promise<readonly (Uint8Array | undefined)[]> {
  const found = (await blobs.readMany?.(wanted, call)) ?? []
  if (found.length > 0 && !found.includes(undefined)) return found
  const all: (Uint8Array | undefined)[] = []
  const one = async ({ digest, size }: SizedBlob, i: number, inner: Call) =>
    found[i] ?? (await readBlob(blobs, digest, size, inner))
  const reads = mapConcurrent(
    wanted.entries(),
    BLOB_READS_MAX,
    ([i, blob], inner) => one(blob, i, inner),
    call,
  )
  for await (const bytes of reads) all.push(bytes)
  return all
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
