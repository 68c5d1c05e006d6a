import { Digest } from '../../model/castore/digest.ts'
import { equalBytes, view } from '../../support/bytes.ts'
import { DISK_CACHE_CHUNKS_MAX } from '../../support/limits.ts'
import type { ChunkMeta } from './interface.ts'

/**
 * The file beside a blob that is being filled chunk by chunk (docs/cache-format.md):
 *
 *     0   8  "TVXMAP1\n"
 *     8  16  name of the data file's variant, lower-case hex
 *    24   4  number of chunks, u32 little endian
 *    28   4  zero
 *    32  32  BLAKE3 of the entries
 *    64  40  for each chunk: digest, size as u64 little endian
 *     …   1  for each chunk: 1 when its bytes are in the data file, else 0
 */
const MAGIC = Buffer.from('TVXMAP1\n', 'latin1')
const OFFSET = { id: 8, count: 24, checksum: 32, entries: 64 } as const
const ENTRY_BYTES = 40

export interface CacheMap {
  readonly id: string
  readonly chunks: readonly ChunkMeta[]
  /** One byte a chunk. */
  readonly filled: Uint8Array
}

export function encodeCacheMap({ id, chunks, filled }: CacheMap): Uint8Array {
  const bytes = Buffer.alloc(filledOffset(chunks.length, 0) + chunks.length)
  MAGIC.copy(bytes)
  bytes.write(id, OFFSET.id, 'latin1')
  bytes.writeUInt32LE(chunks.length, OFFSET.count)
  for (const [index, { digest, size }] of chunks.entries()) {
    const start = OFFSET.entries + index * ENTRY_BYTES
    bytes.set(digest.bytes, start)
    bytes.writeBigUInt64LE(BigInt(size), start + 32)
  }
  bytes.set(checksum(bytes, chunks.length), OFFSET.checksum)
  bytes.set(filled, filledOffset(chunks.length, 0))
  return bytes
}

/** `undefined` for what is no whole map: another format, cut off, or changed by the disk. */
export function decodeCacheMap(bytes: Uint8Array): CacheMap | undefined {
  const buffer = view(bytes)
  if (buffer.length < OFFSET.entries || !equalBytes(buffer.subarray(0, MAGIC.length), MAGIC)) return undefined
  const count = buffer.readUInt32LE(OFFSET.count)
  const end = filledOffset(count, 0)
  if (count < 2 || count > DISK_CACHE_CHUNKS_MAX || buffer.length !== end + count) return undefined
  if (!equalBytes(checksum(buffer, count), buffer.subarray(OFFSET.checksum, OFFSET.entries))) return undefined
  const id = buffer.toString('latin1', OFFSET.id, OFFSET.count)
  if (!/^[0-9a-f]{16}$/.test(id)) return undefined
  const chunks = Array.from({ length: count }, (_, index) => {
    const start = OFFSET.entries + index * ENTRY_BYTES
    const digest = Digest.fromBytes(new Uint8Array(buffer.subarray(start, start + 32)))
    return { digest, size: Number(buffer.readBigUInt64LE(start + 32)) }
  })
  return { id, chunks, filled: new Uint8Array(buffer.subarray(end)) }
}

/** Where in the file the byte of chunk `index` stands. */
export function filledOffset(count: number, index: number): number {
  return OFFSET.entries + count * ENTRY_BYTES + index
}

function checksum(bytes: Buffer, count: number): Uint8Array {
  return Digest.of(bytes.subarray(OFFSET.entries, filledOffset(count, 0))).bytes
}
