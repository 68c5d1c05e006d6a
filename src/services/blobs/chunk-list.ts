import { Digest, EMPTY_DIGEST } from '../../model/castore/digest.ts'
import { ProtoReader, ProtoWriter } from '../../model/castore/proto.ts'
import { StoreError } from '../../support/errors.ts'
import { BLOB_BYTES_MAX } from '../../support/limits.ts'
import type { ChunkMeta } from './interface.ts'

/** `StatBlobResponse { 2: repeated ChunkMeta { 1: digest, 2: size } }` (spec §1.3), as buckets keep it. */
const CHUNKS_FIELD = 2
const FIELD = { digest: 1, size: 2 } as const

export function encodeChunkList(chunks: readonly ChunkMeta[]): Uint8Array {
  const writer = new ProtoWriter()
  for (const chunk of chunks)
    writer.message(CHUNKS_FIELD, (inner) => {
      inner.bytes(FIELD.digest, chunk.digest.bytes)
      inner.uint64(FIELD.size, BigInt(chunk.size))
    })
  return writer.finish()
}

/** Throws ValidationError for what is no such message, digests that are not 32 bytes, and impossible sizes. */
export function decodeChunkList(bytes: Uint8Array): ChunkMeta[] {
  return [...eachOfChunkList(bytes)]
}

/** The same one by one: decoded, the list of 1 GiB takes 600 KiB, and hundreds may read such blobs slowly. */
export function* eachOfChunkList(bytes: Uint8Array): Generator<ChunkMeta> {
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === CHUNKS_FIELD) yield decodeChunkMeta(reader.bytes())
    else reader.skip()
  }
}

function decodeChunkMeta(bytes: Uint8Array): ChunkMeta {
  let digest: Uint8Array = new Uint8Array(0)
  let size = 0n
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === FIELD.digest) digest = reader.bytes()
    else if (reader.field === FIELD.size) size = reader.uint64()
    else reader.skip()
  }
  return { digest: Digest.fromBytes(digest), size: Number(size) }
}

/**
 * Checks what a chunk list tells about itself: every chunk has bytes, together they are a possible blob, and none
 * of several is the blob itself. Throws `corrupt`. Whether the chunks really are the blob shows only in reading.
 */
export function checkChunkList(digest: Digest, chunks: readonly ChunkMeta[], source: string): void {
  const fault = chunkListFault(digest, chunks)
  if (fault) throw new StoreError('corrupt', `the chunk list of blob ${digest} from ${source} ${fault}`)
}

function chunkListFault(digest: Digest, chunks: readonly ChunkMeta[]): string | undefined {
  if (chunks.length > 0 && digest.equals(EMPTY_DIGEST)) return 'claims chunks, but that blob is empty'
  let size = 0
  for (const chunk of chunks) {
    if (!Number.isSafeInteger(chunk.size) || chunk.size < 1)
      return `has a chunk of ${chunk.size} bytes (${chunk.digest})`
    if (chunk.digest.equals(digest) !== (chunks.length === 1))
      return chunks.length === 1
        ? `has the single chunk ${chunk.digest}, which is another blob`
        : 'contains the blob itself beside other chunks'
    size += chunk.size
    if (size > BLOB_BYTES_MAX) return `adds up to more than ${BLOB_BYTES_MAX} bytes`
  }
  return undefined
}
