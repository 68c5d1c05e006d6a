import { join } from 'node:path'
import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import type { Digest } from '../../model/castore/digest.ts'
import { countBuffers } from '../../support/buffer-garbage.ts'
import type { BufferRooms } from '../../support/buffer-rooms.ts'
import { CHUNK_BYTES_MAX, LOCAL_CHUNK_NOW_BYTES_MAX } from '../../support/limits.ts'
import { type NativeChunkSource, type NativeCodec, nativeCodec } from '../../support/native-codec.ts'
import { type LocalChunkSource, PLACE_BYTES, writePlaces } from './chunk-places.ts'
import type { SizedBlob } from './interface.ts'
import { CHUNKS_PREFIX } from './object-keys.ts'

/**
 * Chunks of this machine, read, decompressed and compared with digests in the thread pool by the addon: one trip for many of
 * them, where a trip for each step of each costs more than the work.
 */
export class LocalChunks {
  readonly source: LocalChunkSource
  readonly #codec: NativeCodec
  readonly #native: NativeChunkSource
  /** Of the one chunk that is read on the spot. */
  readonly #place = new Uint8Array(BLAKE3_BYTES + PLACE_BYTES)

  /** `undefined` where the addon is not built. */
  static of(source: LocalChunkSource, codec = nativeCodec): LocalChunks | undefined {
    const native = codec?.openChunkSource(source.kind, source.folder)
    return codec && typeof native === 'object' ? new LocalChunks(source, codec, native) : undefined
  }

  /** Of a bucket that is the folder `root`. */
  static at(root: string, codec = nativeCodec): LocalChunks | undefined {
    return LocalChunks.of({ kind: 'loose', folder: join(root, CHUNKS_PREFIX) }, codec)
  }

  private constructor(source: LocalChunkSource, codec: NativeCodec, native: NativeChunkSource) {
    this.source = source
    this.#codec = codec
    this.#native = native
  }

  /** Takes the steps one after the other; they then know how each went. All places lie in `target`. */
  async run(steps: ChunkSteps, target: Uint8Array): Promise<void> {
    if (this.source.kind === 'packs') writePlaces(this.source.places, steps.records, STEP)
    const running = this.#codec.loadChunks(this.#native, steps.records, target)
    if (typeof running !== 'number') await running
  }

  /** A chunk, compared with its digest; `undefined` for one that is not to be had, as with `read`. */
  async readVerified({ digest, size }: SizedBlob): Promise<Uint8Array | undefined> {
    if (size > CHUNK_BYTES_MAX) return undefined
    const contents = Buffer.allocUnsafeSlow(size)
    countBuffers(size)
    const steps = new ChunkSteps(1, true)
    const step = steps.readAndCompare(digest, 0, size)
    await this.run(steps, contents)
    return steps.isDone(step) ? contents : undefined
  }

  /** As `readVerified` for a small chunk that is in memory of the kernel: `undefined` as well for one that is not. */
  readVerifiedNow({ digest, size }: SizedBlob): Uint8Array | undefined {
    if (size > LOCAL_CHUNK_NOW_BYTES_MAX) return undefined
    if (this.source.kind === 'packs') {
      this.#place.set(digest.bytes)
      writePlaces(this.source.places, this.#place, PLACE_OF_ONE)
    }
    const contents = Buffer.allocUnsafe(size)
    const place = this.#place.subarray(BLAKE3_BYTES)
    return this.#codec.loadChunkNow(this.#native, digest.bytes, place, contents) === 1 ? contents : undefined
  }

  /**
   * The bytes of chunks whose sizes are known, in the order of `wanted`; nobody compared their digests. `undefined` for
   * whatever is not to be had: absent, of another size, damaged. What it is, reading it in the usual way tells. All of them lie
   * one behind the other in a room, to be given back.
   */
  async read(
    wanted: readonly SizedBlob[],
    rooms: Pick<BufferRooms, 'take'>,
  ): Promise<(Uint8Array | undefined)[]> {
    const sizes = wanted.map(({ size }) => (size <= CHUNK_BYTES_MAX ? size : 0))
    const contents = rooms.take(sizes.reduce((sum, size) => sum + size, 0))
    const steps = new ChunkSteps(wanted.length)
    let end = 0
    for (const [i, { digest }] of wanted.entries()) {
      steps.read(digest, end, sizes[i]!)
      end += sizes[i]!
    }
    await this.run(steps, contents)
    let start = 0
    return sizes.map((size, i) => {
      const chunk = contents.subarray(start, start + size)
      start += size
      return steps.isDone(i) && size === wanted[i]!.size ? chunk : undefined
    })
  }
}

/** As `struct step` of native/codec.c: where in the buffer, what to do, and whether it was done. */
const STEP = {
  bytes: BLAKE3_BYTES + 4 * 4 + PLACE_BYTES,
  digest: 0,
  offset: BLAKE3_BYTES,
  place: BLAKE3_BYTES + 4 * 4,
} as const
const RECORD_WORDS = STEP.bytes / 4
const OFFSET = STEP.offset / 4
const READ = 1
const COMPARE = 2
const STAYS = 4

const PLACE_OF_ONE = { bytes: BLAKE3_BYTES + PLACE_BYTES, digest: 0, place: BLAKE3_BYTES } as const

/** What to do at which places of a buffer; all of them lie below 4 GiB. */
export class ChunkSteps {
  readonly #records: Uint8Array
  readonly #words: Uint32Array
  readonly #read: number
  #count = 0

  /**
   * `max`: how many there will be at most. `isKeptAbove`: who reads keeps the contents, as a mount's kernel does, so large ones
   * need not stay in the page cache as well. What is sent away would come from the disk each time.
   */
  constructor(max: number, isKeptAbove = false) {
    this.#read = isKeptAbove ? READ : READ | STAYS
    this.#records = new Uint8Array(max * STEP.bytes)
    this.#words = new Uint32Array(this.#records.buffer)
  }

  get records(): Uint8Array {
    return this.#records.subarray(0, this.#count * STEP.bytes)
  }

  /** Puts the contents of a chunk there, of exactly this size. All three return the number of the step. */
  read(chunk: Digest, offset: number, size: number): number {
    return this.#add(chunk, offset, size, this.#read)
  }

  /** Compares what lies there with a digest. */
  compare(blob: Digest, offset: number, size: number): number {
    return this.#add(blob, offset, size, COMPARE)
  }

  readAndCompare(chunk: Digest, offset: number, size: number): number {
    return this.#add(chunk, offset, size, this.#read | COMPARE)
  }

  /** Whether it succeeded. */
  isDone(step: number): boolean {
    return this.#words[step * RECORD_WORDS + OFFSET + 3] === 1
  }

  #add({ bytes }: Digest, offset: number, size: number, actions: number): number {
    this.#records.set(bytes, this.#count * STEP.bytes)
    const word = this.#count * RECORD_WORDS + OFFSET
    this.#words[word] = offset
    this.#words[word + 1] = size
    this.#words[word + 2] = actions
    return this.#count++
  }
}
