/** Where in a sparse file its contents are; what is between them are zeros. */
import { parseNumber } from './header.ts'

export interface SparseFile {
  /** Offset and length of each region, one after the other. */
  readonly numbers: readonly number[]
  /** Of the file. */
  readonly size: number
}

/** What is wrong with it, if something is. `stored`: bytes of contents in the archive. */
export function sparseFault({ numbers, size }: SparseFile, stored: number): string | undefined {
  if (numbers.length % 2 !== 0) return 'a map of a sparse file with an offset and no length'
  let [end, sum] = [0, 0]
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset, length] = [numbers[i]!, numbers[i + 1]!]
    if (offset < end) return 'a map of a sparse file whose regions are not in order'
    end = offset + length
    sum += length
    if (end > size) return 'a map of a sparse file that goes beyond its end'
  }
  return sum === stored ? undefined : `a map of a sparse file of ${sum} bytes, where ${stored} are stored`
}

const REGION_BYTES = 24

/** A block of the old GNU format: so many regions, and whether a block with more of them follows. */
interface RegionBlock {
  readonly start: number
  readonly regions: number
  readonly moreAt: number
}

/** In the header, whose size of the file follows. */
export const HEADER_REGIONS: RegionBlock = { start: 386, regions: 4, moreAt: 482 }
export const MORE_REGIONS: RegionBlock = { start: 0, regions: 21, moreAt: 504 }

/** The size of the file, in the header of the old GNU format. */
export function realSize(header: Uint8Array): number | undefined {
  return parseNumber(header.subarray(483, 495))
}

/** Appends the regions of a block of the old GNU format, and tells whether another one follows; `undefined`: it is none. */
export function readRegions(
  block: Uint8Array,
  layout: RegionBlock,
  numbers: number[],
): { readonly hasMore: boolean } | undefined {
  for (let i = 0; i < layout.regions; i++) {
    const region = block.subarray(layout.start + i * REGION_BYTES, layout.start + (i + 1) * REGION_BYTES)
    // The first that is empty ends the list.
    if (region[0] === 0) break
    const [offset, length] = [parseNumber(region.subarray(0, 12)), parseNumber(region.subarray(12))]
    if (offset === undefined || length === undefined) return undefined
    numbers.push(offset, length)
  }
  return { hasMore: block[layout.moreAt] !== 0 }
}

/** Numbers in lines, in front of the contents (format 1.0): how many regions, then offset and length of each. */
export class SparseMapText {
  readonly numbers: number[] = []
  readonly #regionsMax: number
  #regions: number | undefined
  #digits = ''

  constructor(regionsMax: number) {
    this.#regionsMax = regionsMax
  }

  get isComplete(): boolean {
    return this.#regions !== undefined && this.numbers.length === 2 * this.#regions
  }

  /** What is wrong with this block of it, if something is. What follows the last number is not looked at. */
  push(block: Uint8Array): string | undefined {
    for (const byte of block) {
      if (this.isComplete) return undefined
      if (byte !== NEWLINE) this.#digits += String.fromCharCode(byte)
      if (this.#digits.length > DIGITS_MAX) return NO_NUMBERS
      if (byte !== NEWLINE) continue
      if (!/^[0-9]+$/.test(this.#digits)) return NO_NUMBERS
      const number = Number(this.#digits)
      this.#digits = ''
      if (this.#regions !== undefined) this.numbers.push(number)
      else if (number > this.#regionsMax) return `a map of more than ${this.#regionsMax} regions`
      else this.#regions = number
    }
    return undefined
  }
}

const NEWLINE = 0x0a
/** So many decimal digits fit into a JavaScript number. */
const DIGITS_MAX = 15
const NO_NUMBERS = 'a map of a sparse file that is no list of numbers'
