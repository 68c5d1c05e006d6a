/**
 * The one loop of the chunker that every byte of every blob goes through, in WebAssembly: it needs integers of 64
 * bits, which JavaScript has to emulate at several times the cost.
 */

/** Of the table of the gear hash, at the start of the memory: 256 numbers of 8 bytes. */
const TABLE_BYTES = 2048
/** The hash so far lies behind the table, … */
const HASH_AT = TABLE_BYTES
/** … and the bytes to be scanned behind it, as many at once as stay in the cache of the processor. */
const BYTES_AT = HASH_AT + 8
const SEGMENT_BYTES = 32 * 1024

/** (param $at i32) (param $end i32) (param $mask i64) (result i32) (local $hash i64) */
// biome-ignore format: one instruction after the other
const SCAN = [
  0x01, 0x01, 0x7e,
  0x41, 0x80, 0x10, 0x29, 0x03, 0x00, 0x21, 0x03, // $hash = load(HASH_AT)
  0x02, 0x40, 0x03, 0x40, // block, loop
  0x20, 0x00, 0x20, 0x01, 0x4f, 0x0d, 0x01, // leave if $at >= $end
  0x20, 0x03, 0x42, 0x01, 0x86, // $hash << 1
  0x20, 0x00, 0x2d, 0x00, 0x00, 0x41, 0x03, 0x74, 0x29, 0x03, 0x00, // load(load8($at) * 8)
  0x7c, 0x22, 0x03, // $hash = their sum
  0x20, 0x02, 0x83, 0x50, 0x0d, 0x01, // leave if ($hash & $mask) == 0
  0x20, 0x00, 0x41, 0x01, 0x6a, 0x21, 0x00, // $at += 1
  0x0c, 0x00, 0x0b, 0x0b, // again; end of loop, of block
  0x41, 0x80, 0x10, 0x20, 0x03, 0x37, 0x03, 0x00, // store(HASH_AT, $hash)
  0x20, 0x00, 0x0b, // return $at
]

const section = (id: number, ...contents: number[]) => [id, contents.length, ...contents]
const name = (text: string) => [text.length, ...Buffer.from(text)]

const MODULE = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...section(1, 1, 0x60, 3, 0x7f, 0x7f, 0x7e, 1, 0x7f), // the type of `scan`
  ...section(3, 1, 0), // one function of that type
  ...section(5, 1, 0, 1), // one memory of a page: 64 KiB
  ...section(7, 2, ...name('memory'), 2, 0, ...name('scan'), 0, 0), // what is exported
  ...section(10, 1, SCAN.length, ...SCAN),
])

/** What is used of it: the types of Node.js leave it out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: Readonly<Record<string, unknown>> }
}

type Scan = (at: number, end: number, mask: bigint) => number

/** A gear hash of 64 bits with its table: hash = (hash << 1) + table[byte]. */
export class GearScan {
  readonly #memory: Uint8Array
  readonly #hash: BigUint64Array
  readonly #scan: Scan

  constructor(table: readonly bigint[]) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE))
    const { buffer } = exports['memory'] as { readonly buffer: ArrayBuffer }
    new BigUint64Array(buffer, 0, table.length).set(table)
    this.#memory = new Uint8Array(buffer)
    this.#hash = new BigUint64Array(buffer, HASH_AT, 1)
    this.#scan = exports['scan'] as Scan
  }

  /** Forgets what was hashed. */
  reset(): void {
    this.#hash[0] = 0n
  }

  /**
   * Hashes on from `from` and gives the first position whose byte makes the hash 0 under `mask`; `to` when there is
   * none.
   */
  find(bytes: Uint8Array, from: number, to: number, mask: bigint): number {
    for (let start = from; start < to; start += SEGMENT_BYTES) {
      const end = Math.min(start + SEGMENT_BYTES, to)
      this.#memory.set(bytes.subarray(start, end), BYTES_AT)
      const found = start + this.#scan(BYTES_AT, BYTES_AT + end - start, mask) - BYTES_AT
      if (found < end) return found
    }
    return to
  }
}
