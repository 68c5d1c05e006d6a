const INITIAL_BYTES = 4096
const END = 0
const LIVE = 1

/**
 * Many short byte sequences in one piece of memory: an object of its own would cost each a multiple of its
 * length. The holder keeps offset and length. Released bytes are not used again; when `isWasteful` the holder
 * moves what lives to a fresh arena.
 */
export class ByteArena {
  #bytes = new Uint8Array(INITIAL_BYTES)
  readonly #counters: Float64Array

  /** `counters`: where its two counters are, zeros at first. */
  constructor(counters: Float64Array) {
    this.#counters = counters
  }

  /** The memory as it is now; `makeRoom` and `append` may take another. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Whether more than half of it is dead. */
  get isWasteful(): boolean {
    return this.#end > INITIAL_BYTES && this.#end > 2 * this.#live
  }

  /** The offset under which the bytes are found again. */
  append(bytes: Uint8Array): number {
    const offset = this.#end
    this.makeRoom(bytes.length)
    this.#bytes.set(bytes, offset)
    this.#counters[END] = offset + bytes.length
    this.#counters[LIVE]! += bytes.length
    return offset
  }

  /** A copy. */
  read(offset: number, length: number): Uint8Array {
    return this.#bytes.slice(offset, offset + length)
  }

  release(length: number): void {
    this.#counters[LIVE]! -= length
  }

  /** So that `more` bytes can be appended. */
  makeRoom(more: number): void {
    if (this.#end + more <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#end + more))
    grown.set(this.#bytes.subarray(0, this.#end))
    this.#bytes = grown
  }

  get #end(): number {
    return this.#counters[END]!
  }

  get #live(): number {
    return this.#counters[LIVE]!
  }
}
