import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import { view } from '../../support/bytes.ts'

/** The files of a store of raw blobs (docs/file-format.md); blobs and maps are those of a blob cache. */
export const RAW_BLOBS_VERSION = 'tvix-store raw blobs 1\n'

export const VERSION_KEY = 'version'

/** The folder of the blobs. */
export const BLOBS_PREFIX = 'blobs'

export function blobKey(digest: Digest): string {
  return `${BLOBS_PREFIX}/${digest.hex.slice(0, 2)}/${digest.hex}`
}

export function mapKey(digest: Digest): string {
  return `${blobKey(digest)}.map`
}

export function placeKey(digest: Digest): string {
  return `chunks/${digest.hex.slice(0, 2)}/${digest.hex}`
}

/** Where a chunk lies: in which blob, and which part of it. */
export interface ChunkPlace {
  readonly blob: Digest
  /** Bytes. */
  readonly start: number
  readonly size: number
}

const PLACE_BYTES = BLAKE3_BYTES + 8 + 8

export function encodePlace({ blob, start, size }: ChunkPlace): Uint8Array {
  const bytes = Buffer.alloc(PLACE_BYTES)
  bytes.set(blob.bytes)
  bytes.writeBigUInt64LE(BigInt(start), BLAKE3_BYTES)
  bytes.writeBigUInt64LE(BigInt(size), BLAKE3_BYTES + 8)
  return bytes
}

/** `undefined` for what is none. */
export function decodePlace(bytes: Uint8Array): ChunkPlace | undefined {
  if (bytes.length !== PLACE_BYTES) return undefined
  const buffer = view(bytes)
  const start = Number(buffer.readBigUInt64LE(BLAKE3_BYTES))
  const size = Number(buffer.readBigUInt64LE(BLAKE3_BYTES + 8))
  if (!Number.isSafeInteger(start + size)) return undefined
  return { blob: Digest.fromBytes(new Uint8Array(bytes.subarray(0, BLAKE3_BYTES))), start, size }
}
