import type { Digest } from '../../model/castore/digest.ts'

/** What the keys of all chunk lists begin with. */
export const BLOBS_PREFIX = 'blobs/b3'

/** Where a blob's chunk list is kept (spec §3.3). The fan-out is four digits, the first two bytes. */
export function blobKey(digest: Digest): string {
  return `${BLOBS_PREFIX}/${fannedOut(digest)}`
}

/** What the keys of all chunks begin with: a folder, where the bucket is one. */
export const CHUNKS_PREFIX = 'chunks/b3'

/** Where a chunk's bytes are kept (spec §3.3). */
export function chunkKey(digest: Digest): string {
  return `${CHUNKS_PREFIX}/${fannedOut(digest)}`
}

function fannedOut(digest: Digest): string {
  const { hex } = digest
  return `${hex.slice(0, 4)}/${hex}`
}
