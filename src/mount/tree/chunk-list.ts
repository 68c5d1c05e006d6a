import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import type { ChunkMeta } from '../../services/blobs/interface.ts'

/** How a blob divides into chunks, 40 bytes a chunk. */
export class ChunkList {
  readonly length: number
  /** Where each chunk begins, and at last where the blob ends. */
  readonly #offsets: Float64Array
  readonly #digests: Uint8Array

  constructor(chunks: readonly ChunkMeta[]) {
    this.length = chunks.length
    this.#offsets = new Float64Array(chunks.length + 1)
    this.#digests = new Uint8Array(chunks.length * BLAKE3_BYTES)
    let offset = 0
    for (const [index, { digest, size }] of chunks.entries()) {
      this.#digests.set(digest.bytes, index * BLAKE3_BYTES)
      offset += size
      this.#offsets[index + 1] = offset
    }
  }

  /** Of the blob, in bytes. */
  get size(): number {
    return this.#offsets[this.length]!
  }

  chunk(index: number): ChunkMeta {
    const digest = Digest.fromBytes(this.digestBytes(index))
    return { digest, size: this.#offsets[index + 1]! - this.#offsets[index]! }
  }

  /** Not a copy. */
  digestBytes(index: number): Uint8Array {
    return this.#digests.subarray(index * BLAKE3_BYTES, (index + 1) * BLAKE3_BYTES)
  }

  start(index: number): number {
    return this.#offsets[index]!
  }

  /** The chunk that holds the byte at `offset`, which lies inside the blob. */
  indexAt(offset: number): number {
    let low = 0
    let high = this.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.#offsets[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return low
  }
}
