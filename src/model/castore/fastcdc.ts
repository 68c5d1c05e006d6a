/**
 * Content-defined chunking as the Rust implementation does it: FastCDC "v2020" with normalisation level 1
 * (spec §3.3), so that the same blob divides into the same chunks and buckets deduplicate across writers.
 *
 * The gear hash of a position is 64 bits: h = (h << 1) + gear[byte], cut where h & mask is 0. (The published
 * loop takes two bytes a step with shifted tables; as no mask has bit 63 set, both cut at the same places.)
 * JavaScript has 32-bit integers, and two facts make them enough. The low half of h depends on low halves
 * alone, so the scan follows only that and asks about the high half where the low half matches, once in about
 * a thousand bytes. And after 64 bytes a byte has been shifted out, so the high half is computed afresh there.
 */
import { createHash } from 'node:crypto'
import { CHUNK_BYTES_AVG } from '../../support/limits.ts'

/** Masks for 2^5 up to 2^25 bytes on average, 16 hex digits each: a constant of the algorithm. */
// biome-ignore format: a table
const MASKS = [
  '0000000001804110', '0000000001803110', '0000000018035100', '0000001800035300', '0000019000353000',
  '0000590003530000', '0000d90003530000', '0000d90103530000', '0000d90303530000', '0000d90313530000',
  '0000d90f03530000', '0000d90303537000', '0000d90703537000', '0000d90707537000', '0000d91707537000',
  '0000d91747537000', '0000d91767537000', '0000d93767537000', '0000d93777537000', '0000d93777577000',
  '0000db3777577000',
]
const MASK_BITS_MIN = 5

/** Bytes after which a byte no longer influences the low half, and the whole, of the hash. */
const LOW_WINDOW = 32
const WINDOW = 64

const GEAR_HIGH = new Int32Array(256)
const GEAR_LOW = new Int32Array(256)
for (let byte = 0; byte < 256; byte++) {
  const md5 = createHash('md5').update(Buffer.alloc(64, byte)).digest()
  GEAR_HIGH[byte] = md5.readInt32BE(0)
  GEAR_LOW[byte] = md5.readInt32BE(4)
}

interface Mask {
  readonly high: number
  readonly low: number
}

function mask(bits: number): Mask {
  const digits = MASKS[bits - MASK_BITS_MIN]
  if (!digits) throw new RangeError(`no chunking mask for ${bits} bits`)
  return { high: Number.parseInt(digits.slice(0, 8), 16) | 0, low: Number.parseInt(digits.slice(8), 16) | 0 }
}

/** Finds where a buffer is cut. Chunks are avg/2 to avg*2 bytes long, except the last of a blob. */
export class Chunker {
  readonly min: number
  readonly avg: number
  readonly max: number
  readonly #strict: Mask
  readonly #loose: Mask

  /** `avg`: bytes, a power of two: for others, versions of the Rust library differ (spec §3.3). */
  constructor(avg = CHUNK_BYTES_AVG) {
    const bits = Math.log2(avg)
    if (!Number.isInteger(bits)) throw new RangeError(`average chunk size ${avg} is not a power of two`)
    this.min = avg / 2
    this.avg = avg
    this.max = avg * 2
    this.#strict = mask(bits + 1)
    this.#loose = mask(bits - 1)
  }

  /** The length of the first chunk of `bytes`, which must be the rest of the blob or at least `max` of it. */
  cut(bytes: Uint8Array): number {
    const { min, avg, max } = this
    if (bytes.length <= min) return bytes.length
    const end = Math.min(bytes.length, max)
    const centre = Math.min(bytes.length, avg)
    const early = findCut(bytes, min, min, even(centre), this.#strict)
    if (early !== undefined) return early
    return findCut(bytes, min, even(centre), even(end), this.#loose) ?? end
  }
}

function even(length: number): number {
  return length - (length % 2)
}

/** The first position of [from, to), both even, whose hash, begun at `origin`, matches; it is no part of the chunk. */
function findCut(
  bytes: Uint8Array,
  origin: number,
  from: number,
  to: number,
  mask: Mask,
): number | undefined {
  const low = mask.low
  const lowBefore = low << 1
  let hash = lowHash(bytes, Math.max(origin, from - LOW_WINDOW), from)
  for (let i = from; i < to; i += 2) {
    const first = (hash << 2) + (GEAR_LOW[bytes[i]!]! << 1)
    if ((first & lowBefore) === 0 && highMatches(bytes, origin, i, mask)) return i
    hash = (first + GEAR_LOW[bytes[i + 1]!]!) | 0
    if ((hash & low) === 0 && highMatches(bytes, origin, i + 1, mask)) return i + 1
  }
  return undefined
}

function lowHash(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0
  for (let i = from; i < to; i++) hash = ((hash << 1) + GEAR_LOW[bytes[i]!]!) | 0
  return hash
}

/** Whether the upper 32 bits of the hash at `position` match too. */
function highMatches(bytes: Uint8Array, origin: number, position: number, mask: Mask): boolean {
  let high = 0
  let low = 0
  for (let i = Math.max(origin, position - WINDOW + 1); i <= position; i++) {
    const byte = bytes[i]!
    const shifted = low << 1
    const sum = (shifted >>> 0) + (GEAR_LOW[byte]! >>> 0)
    high = ((high << 1) + (low >>> 31) + GEAR_HIGH[byte]! + (sum > 0xffff_ffff ? 1 : 0)) | 0
    low = sum | 0
  }
  return (high & mask.high) === 0
}

/**
 * Divides a blob that arrives in writes of any size. Chunks are views into what was written wherever one
 * write holds enough of the blob; only bytes near the borders of writes are copied. So what is written must
 * stay unchanged as long as the chunks are used.
 */
export class ChunkSplitter {
  readonly #chunker: Chunker
  /** Bytes that wait for more; fewer than `max`. The buffer has room to grow into. */
  #held: Uint8Array = new Uint8Array(0)
  #heldLength = 0

  constructor(chunker = new Chunker()) {
    this.#chunker = chunker
  }

  /** Takes the next bytes and yields the chunks that are certain by now. */
  *push(bytes: Uint8Array): Generator<Uint8Array> {
    const { max } = this.#chunker
    let rest = bytes
    while (this.#heldLength + rest.length >= max) {
      if (this.#heldLength > 0) {
        const held = this.#heldLength
        this.#hold(rest.subarray(0, max - held))
        const window = this.#held.subarray(0, max)
        const length = this.#chunker.cut(window)
        this.#held = new Uint8Array(0)
        this.#heldLength = 0
        if (length < held) this.#hold(window.subarray(length, held))
        rest = rest.subarray(Math.max(0, length - held))
        yield window.subarray(0, length)
      } else {
        const length = this.#chunker.cut(rest)
        yield rest.subarray(0, length)
        rest = rest.subarray(length)
      }
    }
    this.#hold(rest)
  }

  /** Yields the chunks of what is left: none for an empty blob. */
  *finish(): Generator<Uint8Array> {
    let rest = this.#held.subarray(0, this.#heldLength)
    this.#heldLength = 0
    while (rest.length > 0) {
      const length = this.#chunker.cut(rest)
      yield rest.subarray(0, length)
      rest = rest.subarray(length)
    }
  }

  #hold(bytes: Uint8Array): void {
    const needed = this.#heldLength + bytes.length
    if (needed > this.#held.length) {
      // A blob of one small write needs no more than that; with a second one it may be of any size.
      const grown = Buffer.allocUnsafeSlow(this.#heldLength === 0 ? needed : this.#chunker.max)
      grown.set(this.#held.subarray(0, this.#heldLength))
      this.#held = grown
    }
    this.#held.set(bytes, this.#heldLength)
    this.#heldLength = needed
  }
}
