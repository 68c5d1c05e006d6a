/**
 * Content-defined chunking as the Rust implementation does it: FastCDC "v2020" with normalisation level 1
 * (spec §3.3), so that the same blob divides into the same chunks and buckets deduplicate across writers.
 *
 * The gear hash of a position is 64 bits: h = (h << 1) + gear[byte], cut where h & mask is 0. (The published
 * loop takes two bytes a step with shifted tables; as no mask has bit 63 set, both cut at the same places.)
 */
import { createHash } from 'node:crypto'
import { countBuffers } from '../../support/buffer-garbage.ts'
import { CHUNK_BYTES_AVG } from '../../support/limits.ts'
import { GearScan } from './gear-scan.ts'

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

/** Made when the first blob is cut: whoever only reads needs none of it. */
let gear: readonly bigint[] | undefined
let scan: GearScan | undefined

function gearTable(): readonly bigint[] {
  gear ??= Array.from({ length: 256 }, (_, byte) =>
    createHash('md5').update(Buffer.alloc(64, byte)).digest().readBigUInt64BE(),
  )
  return gear
}

/** One for all: a cut is found without waiting for anything. */
function gearScan(): GearScan {
  scan ??= new GearScan(gearTable())
  return scan
}

function mask(bits: number): bigint {
  const digits = MASKS[bits - MASK_BITS_MIN]
  if (!digits) throw new RangeError(`no chunking mask for ${bits} bits`)
  return BigInt(`0x${digits}`)
}

/** Finds where a buffer is cut. Chunks are avg/2 to avg*2 bytes long, except the last of a blob. */
export class Chunker {
  readonly min: number
  readonly avg: number
  readonly max: number
  readonly #strict: bigint
  readonly #loose: bigint

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

  /** All that decides where is cut, as `struct gear` of native/gear.h has it. */
  get parameters(): BigUint64Array {
    const { min, avg, max } = this
    return BigUint64Array.of(...gearTable(), this.#strict, this.#loose, ...[min, avg, max].map(BigInt))
  }

  /** The length of the first chunk of `bytes`, which must be the rest of the blob or at least `max` of it. */
  cut(bytes: Uint8Array): number {
    const { min, avg, max } = this
    if (bytes.length <= min) return bytes.length
    const end = Math.min(bytes.length, max)
    const centre = Math.min(bytes.length, avg)
    const scan = gearScan()
    scan.reset()
    const early = scan.find(bytes, min, even(centre), this.#strict)
    if (early < even(centre)) return early
    const late = scan.find(bytes, even(centre), even(end), this.#loose)
    return late < even(end) ? late : end
  }
}

function even(length: number): number {
  return length - (length % 2)
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
      countBuffers(grown.length)
      grown.set(this.#held.subarray(0, this.#heldLength))
      this.#held = grown
    }
    this.#held.set(bytes, this.#heldLength)
    this.#heldLength = needed
  }
}
