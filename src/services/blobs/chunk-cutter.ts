import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest, Digester } from '../../model/castore/digest.ts'
import { Chunker } from '../../model/castore/fastcdc.ts'
import { StoreError } from '../../support/errors.ts'
import { type NativeChunker, nativeChunker } from '../../support/native-chunker.ts'
import type { ChunkMeta } from './interface.ts'

/** As `struct record` of native/chunker.c: the digest and the size. */
const RECORD_BYTES = BLAKE3_BYTES + 4

/** Divides the bytes of one blob, in order, and digests its chunks and all of it. */
export interface ChunkCutter {
  /**
   * The chunks that `bytes` begins with, as far as they are certain; all of them if `isLast` says that nothing follows.
   * What is left, less than a chunk can have, is given again with the next bytes. One call after the other.
   */
  cut(bytes: Uint8Array, isLast: boolean): Promise<ChunkMeta[]>
  /** Of all chunks so far. */
  digest(): Digest
}

/** In the thread pool where the addon was built, and on the spot where it was not. */
export async function openChunkCutter(chunker: Chunker): Promise<ChunkCutter> {
  working ??= checked(nativeChunker())
  const native = await working
  return native ? new PoolCutter(chunker, native) : new PlainCutter(chunker)
}

let working: Promise<NativeChunker | undefined> | undefined

/** Compared with the plain one once, so that a broken build cannot store anything. */
async function checked(native: NativeChunker | undefined): Promise<NativeChunker | undefined> {
  if (!native) return undefined
  const chunker = new Chunker(1024)
  const bytes = Uint8Array.from({ length: 20_000 }, (_, i) => (i * i) >>> 3)
  const [ours, plain] = [new PoolCutter(chunker, native), new PlainCutter(chunker)]
  const [found, expected] = [await ours.cut(bytes, true), await plain.cut(bytes, true)]
  const isSame =
    found.length === expected.length &&
    found.every(({ digest, size }, i) => size === expected[i]!.size && digest.equals(expected[i]!.digest)) &&
    ours.digest().equals(plain.digest())
  return isSame ? native : undefined
}

export class PoolCutter implements ChunkCutter {
  readonly #native: NativeChunker
  readonly #parameters: BigUint64Array
  readonly #min: number
  readonly #blob: Uint8Array

  constructor(chunker: Chunker, native: NativeChunker) {
    this.#native = native
    this.#parameters = chunker.parameters
    this.#min = chunker.min
    this.#blob = new Uint8Array(native.streamBytes)
  }

  async cut(bytes: Uint8Array, isLast: boolean): Promise<ChunkMeta[]> {
    const records = Buffer.alloc((Math.floor(bytes.length / this.#min) + 1) * RECORD_BYTES)
    const count = await this.#native.cut(this.#parameters, this.#blob, bytes, records, isLast)
    if (count < 0) throw new StoreError('internal', `the chunker failed with error ${count}`)
    return Array.from({ length: count }, (_, i) => {
      const record = records.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES)
      return {
        digest: Digest.fromBytes(record.subarray(0, BLAKE3_BYTES)),
        size: record.readUInt32LE(BLAKE3_BYTES),
      }
    })
  }

  digest(): Digest {
    const digest = new Uint8Array(BLAKE3_BYTES)
    const error = this.#native.digest(this.#blob, digest)
    if (error < 0) throw new StoreError('internal', `the chunker failed with error ${error}`)
    return Digest.fromBytes(digest)
  }
}

export class PlainCutter implements ChunkCutter {
  readonly #chunker: Chunker
  readonly #digester = new Digester()

  constructor(chunker: Chunker) {
    this.#chunker = chunker
  }

  async cut(bytes: Uint8Array, isLast: boolean): Promise<ChunkMeta[]> {
    const metas: ChunkMeta[] = []
    for (let rest = bytes; rest.length >= (isLast ? 1 : this.#chunker.max); ) {
      const chunk = rest.subarray(0, this.#chunker.cut(rest))
      this.#digester.update(chunk)
      metas.push({ digest: Digest.of(chunk), size: chunk.length })
      rest = rest.subarray(chunk.length)
    }
    return metas
  }

  digest(): Digest {
    return this.#digester.digest()
  }
}
