import type { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { CHUNK_BYTES_MAX, CHUNK_READS_MAX } from '../../support/limits.ts'
import type { BlobService, BlobStream, ChunkMeta } from './interface.ts'
import { readBlob } from './read-blob.ts'

/**
 * The bytes of a blob from `start` up to but without `end`, fetching only the chunks they are in; a blob that is only
 * to be had as a whole is read from its beginning. `size`: of the whole blob, as its node records it. Throws `corrupt`
 * when the blob is missing or has another size, and for a chunk as its source says.
 */
export async function* readBlobRange(
  blobs: BlobService,
  { digest, size }: { readonly digest: Digest; readonly size: number },
  { start, end }: { readonly start: number; readonly end: number },
  call?: Call,
): AsyncGenerator<Uint8Array> {
  const isWhole = start === 0 && end === size
  const chunks = isWhole ? [] : await chunksOf(blobs, digest, call)
  const pieces =
    chunks.length > 0 ? chunkPieces(blobs, chunks, { start, end }, call) : wholePieces(blobs, digest, call)
  // Chunks outside the range are not fetched, but count.
  const total = chunks.reduce((sum, chunk) => sum + chunk.size, 0)
  if (chunks.length > 0 && total !== size) throw wrongSize(digest, size, `${total}`)
  let offset = 0
  for await (const { at, bytes } of pieces) {
    offset = at + bytes.length
    if (offset > size) throw wrongSize(digest, size, 'more')
    const part = bytes.subarray(Math.max(0, start - at), Math.max(0, end - at))
    if (part.length > 0) yield part
    if (offset >= end && !isWhole) return
  }
  if (offset < end) throw wrongSize(digest, size, `${offset}`)
}

interface Piece {
  /** Where in the blob. */
  readonly at: number
  readonly bytes: Uint8Array
}

async function chunksOf(blobs: BlobService, digest: Digest, call?: Call): Promise<readonly ChunkMeta[]> {
  const chunks = await blobs.chunks(digest, call)
  if (!chunks) throw missing(digest)
  return chunks
}

async function* chunkPieces(
  blobs: BlobService,
  chunks: readonly ChunkMeta[],
  { start, end }: { readonly start: number; readonly end: number },
  call?: Call,
): AsyncGenerator<Piece> {
  const wanted: { at: number; chunk: ChunkMeta }[] = []
  let at = 0
  for (const chunk of chunks) {
    if (at < end && at + chunk.size > start) wanted.push({ at, chunk })
    at += chunk.size
  }
  // One that is too large to be held is streamed, alone.
  if (wanted.some(({ chunk }) => chunk.size > CHUNK_BYTES_MAX)) {
    for (const { at: first, chunk } of wanted)
      for await (const piece of wholePieces(blobs, chunk.digest, call))
        yield { at: first + piece.at, bytes: piece.bytes }
    return
  }
  const fetch = async ({ at, chunk }: { at: number; chunk: ChunkMeta }, each: Call) => {
    const bytes = await readBlob(blobs, chunk.digest, chunk.size, each)
    if (!bytes) throw missing(chunk.digest)
    return { at, bytes }
  }
  yield* mapConcurrent(wanted, CHUNK_READS_MAX, fetch, call)
}

async function* wholePieces(blobs: BlobService, digest: Digest, call?: Call): AsyncGenerator<Piece> {
  const stream: BlobStream | undefined = await blobs.openRead(digest, call)
  if (!stream) throw missing(digest)
  let at = 0
  for await (const bytes of stream) {
    yield { at, bytes }
    at += bytes.length
  }
}

function missing(digest: Digest): StoreError {
  return new StoreError('corrupt', `blob ${digest} is missing from the store`)
}

function wrongSize(digest: Digest, expected: number, found: string): StoreError {
  return new StoreError('corrupt', `blob ${digest} should have ${expected} bytes and has ${found}`)
}
