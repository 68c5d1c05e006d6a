import type { Digest } from '../../model/castore/digest.ts'

/** Where a blob's chunk list is kept (spec §3.3). The fan-out is four digits, the first two bytes. */
export function blobKey(digest: Digest): string {
  return `blobs/${fannedOut(digest)}`
}

/** Where a chunk's bytes are kept (spec §3.3). */
export function chunkKey(digest: Digest): string {
  return `chunks/${fannedOut(digest)}`
}

function fannedOut(digest: Digest): string {
  const { hex } = digest
  return `b3/${hex.slice(0, 4)}/${hex}`
}
