import {
  type LocalChunkSource,
  type MutablePlace,
  type PackPlaces,
  writePlaces,
} from '../../services/blobs/chunk-places.ts'
import type { SizedBlob } from '../../services/blobs/interface.ts'
import { FUSE_READ_BYTES_MAX, READ_PLAN_CHUNK_BYTES_MAX, READ_PLAN_SPANS_MAX } from '../../support/limits.ts'

/** A request for the addon, in the byte order of this machine (struct request of native/chunk_reader.c). */
const REQUEST = { bytes: 120, unique: 0, inode: 8, offset: 16, size: 24, count: 28, blob: 32 } as const
/** A part of a file that is known to be right (struct known_part); without one its length is 0. */
const KNOWN = { state: 64, offset: 104, length: 112 } as const
/** Which bytes of which chunk, and where that lies (struct span). */
const SPAN = { bytes: 64, digest: 0, size: 32, from: 36, to: 40, place: 48 } as const

/**
 * What a read has to bring together, in one buffer that is used again and again: parts of chunks, in order. A read of
 * more than the addon takes has no plan.
 */
export class ReadPlan {
  readonly #bytes = new Uint8Array(REQUEST.bytes + READ_PLAN_SPANS_MAX * SPAN.bytes)
  readonly #view = new DataView(this.#bytes.buffer)
  readonly #source: LocalChunkSource | undefined
  readonly #found: MutablePlace = { pack: 0, offset: 0, stored: 0 }
  #count = 0

  /** `source`: where it will be carried out; without one, every plan is of chunks. */
  constructor(source?: LocalChunkSource) {
    this.#source = source
  }

  /** A read of this blob. */
  begin(blob: Uint8Array): void {
    this.#bytes.set(blob, REQUEST.blob)
    this.#view.setUint32(KNOWN.length, 0, true)
    this.#count = 0
  }

  /** The bytes `from` to `to` of this blob, all of them, if its file is known to be right as it lies. False: it is not taken. */
  addKnown({ digest, size }: SizedBlob, from: number, to: number): boolean {
    const state = this.#source?.kind === 'raw' ? this.#source.known?.state(digest, size) : undefined
    if (!state || to - from > FUSE_READ_BYTES_MAX) return false
    this.#bytes.set(state, KNOWN.state)
    this.#view.setBigUint64(KNOWN.offset, BigInt(from), true)
    this.#view.setUint32(KNOWN.length, to - from, true)
    return true
  }

  /** Whether this blob lies in a pack as one chunk: whatever has its digest is all of it, and no list of chunks need be asked for. */
  isPacked({ digest, size }: SizedBlob): boolean {
    const source = this.#source
    return (
      source?.kind === 'packs' &&
      size <= READ_PLAN_CHUNK_BYTES_MAX &&
      source.places.find(digest.bytes, this.#found)
    )
  }

  /**
   * The bytes `from` to `to` of a chunk of `size` bytes, which begins at `start` of the blob. False: it is not taken, and there
   * is no plan.
   */
  add(digest: Uint8Array, size: number, start: number, from: number, to: number): boolean {
    if (this.#count === READ_PLAN_SPANS_MAX || size > READ_PLAN_CHUNK_BYTES_MAX) return false
    const at = REQUEST.bytes + this.#count++ * SPAN.bytes
    this.#bytes.set(digest, at + SPAN.digest)
    this.#view.setUint32(at + SPAN.size, size, true)
    this.#view.setUint32(at + SPAN.from, from, true)
    this.#view.setUint32(at + SPAN.to, to, true)
    this.#view.setUint32(at + SPAN.place, start >>> 0, true)
    this.#view.setUint32(at + SPAN.place + 4, Math.floor(start / 2 ** 32), true)
    return true
  }

  /** And not a part of a known file. */
  get hasChunks(): boolean {
    return this.#count > 0
  }

  /** Writes down where the chunks lie in packs, in the place of where they lie in their blob. */
  locate(places: PackPlaces): void {
    writePlaces(places, this.#bytes.subarray(REQUEST.bytes, REQUEST.bytes + this.#count * SPAN.bytes), SPAN)
  }

  /** The request as the addon takes it: valid until the next `begin`. */
  finish(uniqueLow: number, uniqueHigh: number, inode: number, offset: number, size: number): Uint8Array {
    const view = this.#view
    view.setUint32(REQUEST.unique, uniqueLow, true)
    view.setUint32(REQUEST.unique + 4, uniqueHigh, true)
    view.setBigUint64(REQUEST.inode, BigInt(inode), true)
    view.setBigUint64(REQUEST.offset, BigInt(offset), true)
    view.setUint32(REQUEST.size, size, true)
    view.setUint32(REQUEST.count, this.#count, true)
    return this.#bytes.subarray(0, REQUEST.bytes + this.#count * SPAN.bytes)
  }
}
