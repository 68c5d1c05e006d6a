import type { KnownFiles } from './known-files.ts'

/**
 * Where chunks lie on the local disk, for those who read them past the services: the threads of the addon (native/chunk_source.h).
 * They compare every chunk with its digest (or a file with what it was when it was compared: `known`); whatever they cannot
 * read, or find to be something else, is asked of the service, which says what is wrong. So a place may be out of date, and
 * costs a detour then.
 */
export type LocalChunkSource = LooseChunks | PackedChunks | RawBlobs

/** `<folder>/<4 hex>/<64 hex>`: zstd frames, a file for each chunk (spec §3.3). */
export interface LooseChunks {
  readonly kind: 'loose'
  readonly folder: string
}

/** `<folder>/<8 hex>.pack`: zstd frames of many chunks each; `places` tells where which chunk lies. */
export interface PackedChunks {
  readonly kind: 'packs'
  readonly folder: string
  readonly places: PackPlaces
}

/** `<folder>/<2 hex>/<64 hex>`: whole blobs as they are; a chunk is a range of its blob. */
export interface RawBlobs {
  readonly kind: 'raw'
  readonly folder: string
  /** Which of them were hashed since the machine was started, so that they can be read without. */
  readonly known?: KnownFiles | undefined
}

/**
 * Where a chunk lies in a packed store: exactly one or several whole zstd frames, and nothing else, make up the `stored` bytes
 * from `offset` on.
 */
export interface MutablePlace {
  /** The name of the file in hexadecimal, below 2^32. A number is never used again for other contents. */
  pack: number
  /** Bytes, below 2^53. */
  offset: number
  /** Bytes, at least 1, below 2^32. */
  stored: number
}

export interface PackPlaces {
  /**
   * Fills in where the chunk with this digest (32 bytes, which are the caller's again afterwards) lies; false, and `place` is left
   * alone, when it is in no pack. Called for every chunk on the thread of JavaScript, thousands in a row: a microsecond
   * or so, without waiting for a disk. What lies there is never changed while the number of the pack is in use; a pack may
   * go away as a whole. Answers false once the store is closed.
   */
  find(digest: Uint8Array, place: MutablePlace): boolean
}

/** `struct place` of native/chunk_source.h, in the byte order of this machine: offset, pack, stored. */
export const PLACE_BYTES = 16

/** Records of one kind that tell of a chunk each: how many bytes one has, and where in it the digest and the place are. */
export interface PlacedRecords {
  readonly bytes: number
  readonly digest: number
  readonly place: number
}

const DIGEST_BYTES = 32

/** Fills in the places of the chunks that `records` tell of; in the place of one that is in no pack there is nothing then. */
export function writePlaces(
  places: PackPlaces,
  records: Uint8Array,
  { bytes, digest, place }: PlacedRecords,
): void {
  const view = new DataView(records.buffer, records.byteOffset, records.length)
  const found: MutablePlace = { pack: 0, offset: 0, stored: 0 }
  for (let at = 0; at < records.length; at += bytes) {
    const isFound = places.find(records.subarray(at + digest, at + digest + DIGEST_BYTES), found)
    const { offset, pack } = found
    view.setUint32(at + place, offset >>> 0, true)
    view.setUint32(at + place + 4, Math.floor(offset / 2 ** 32), true)
    view.setUint32(at + place + 8, pack, true)
    view.setUint32(at + place + 12, isFound ? found.stored : 0, true)
  }
}
