import type { FileNode } from '../model/castore/node.ts'
import type { BlobService, ChunkMeta } from '../services/blobs/interface.ts'
import { readBlob } from '../services/blobs/read-blob.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { MissingError, StoreError } from '../support/errors.ts'
import { CHUNK_READS_MAX } from '../support/limits.ts'

/**
 * The bytes of a file from `start` up to `end` (0 ≤ start < end ≤ size). Where the blob is chunked, only the chunks that
 * hold them are fetched. Otherwise all of it is read, and the last piece held back until the digest of the whole was
 * right: nothing unverified leaves. Throws `corrupt` when the blob is missing or not as large as its node says.
 */
export async function* readBlobRange(
  blobs: BlobService,
  file: FileNode,
  start: number,
  end: number,
  call?: Call,
): AsyncGenerator<Uint8Array> {
  const isWhole = start === 0 && BigInt(end) === file.size
  // A whole blob is checked against its own digest, which is more than that of each chunk.
  const chunks = isWhole ? [] : await blobs.chunks(file.digest, call)
  if (!chunks) throw missing(file)
  if (chunks.length === 0) {
    yield* rangeOfWhole(blobs, file, start, end, call)
    return
  }
  checkSize(
    file,
    chunks.reduce((sum, chunk) => sum + chunk.size, 0),
  )
  const wanted = overlapping(chunks, start, end)
  const read = ({ chunk }: Placed, inner: Call) => readBlob(blobs, chunk.digest, chunk.size, inner)
  let next = 0
  for await (const bytes of mapConcurrent(wanted, CHUNK_READS_MAX, read, call)) {
    const { chunk, offset } = wanted[next++]!
    if (!bytes) throw new MissingError(`chunk ${chunk.digest} of blob ${file.digest}`)
    yield bytes.subarray(Math.max(0, start - offset), Math.min(bytes.length, end - offset))
  }
}

interface Placed {
  readonly chunk: ChunkMeta
  /** Of its first byte in the blob. */
  readonly offset: number
}

function overlapping(chunks: readonly ChunkMeta[], start: number, end: number): Placed[] {
  const wanted: Placed[] = []
  let offset = 0
  for (const chunk of chunks) {
    if (offset < end && offset + chunk.size > start) wanted.push({ chunk, offset })
    offset += chunk.size
  }
  return wanted
}

async function* rangeOfWhole(
  blobs: BlobService,
  file: FileNode,
  start: number,
  end: number,
  call?: Call,
): AsyncGenerator<Uint8Array> {
  const stream = await blobs.openRead(file.digest, call)
  if (!stream) throw missing(file)
  let offset = 0
  let held: Uint8Array | undefined
  for await (const piece of stream) {
    if (offset < end && offset + piece.length > start) {
      if (held) yield held
      held = piece.subarray(Math.max(0, start - offset), Math.min(piece.length, end - offset))
    }
    offset += piece.length
    if (offset > file.size) break
  }
  checkSize(file, offset)
  if (held) yield held
}

function checkSize({ digest, size }: FileNode, found: number): void {
  if (BigInt(found) === size) return
  const relation = BigInt(found) > size ? 'more' : `${found}`
  throw new StoreError('corrupt', `blob ${digest} should have ${size} bytes and has ${relation}`)
}

function missing({ digest }: FileNode): StoreError {
  return new MissingError(`blob ${digest}`)
}
