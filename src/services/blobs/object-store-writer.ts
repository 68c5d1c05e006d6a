import { Digest } from '../../model/castore/digest.ts'
import type { Chunker } from '../../model/castore/fastcdc.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { BLOB_PORTIONS_MAX, CHUNK_UPLOADS_MAX, ZSTD_INLINE_BYTES_MAX } from '../../support/limits.ts'
import { compress } from '../../support/zstd.ts'
import type { ObjectStore } from '../objects/interface.ts'
import type { BlobBatches } from './blob-batches.ts'
import { type ChunkCutter, openChunkCutter } from './chunk-cutter.ts'
import { encodeChunkList } from './chunk-list.ts'
import type { BlobWriter, ChunkMeta } from './interface.ts'
import { blobKey, chunkKey } from './object-keys.ts'
import type { Portion, PortionPool } from './portions.ts'

const NO_BYTES = new Uint8Array(0)
const NOTHING_TO_WAIT_FOR = Promise.resolve()

/** Bytes that are no certain chunk yet, and the portion that they are in. */
interface Left {
  readonly bytes: Uint8Array
  readonly portion: Portion | undefined
}

/** What the writers of one service share. */
export interface ChunkStore {
  readonly objects: ObjectStore
  /** A faster way for chunks, if there is one. */
  readonly batches: BlobBatches | undefined
  readonly chunker: Chunker
  readonly portions: PortionPool
}

/**
 * Cuts a blob into chunks while it is written: it is gathered in portions, of which one is filled while others are cut
 * and stored; a writer that is ahead of the store waits. Aborted or killed, it leaves chunks that nothing refers to.
 */
export class ObjectStoreBlobWriter implements BlobWriter {
  readonly #store: ChunkStore
  readonly #metas: ChunkMeta[] = []
  /** Digests of the chunks so far: within a blob the same one is stored once. */
  readonly #stored = new Set<string>()
  /** Chunks that are being stored, and portions that are being cut. */
  readonly #underway = new Set<Promise<void>>()
  readonly #uploads = new Semaphore(CHUNK_UPLOADS_MAX)
  readonly #places = new Semaphore(BLOB_PORTIONS_MAX)
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  /** The first write, as long as it is the only one, and small. */
  #first: Uint8Array | undefined
  /** That is being filled. */
  #portion: Portion | undefined
  #cutter: ChunkCutter | undefined
  /** What the portions so far left over. */
  #left: Promise<Left> = Promise.resolve({ bytes: NO_BYTES, portion: undefined })
  #failure: StoreError | undefined
  #closed: Promise<Digest> | undefined

  constructor(store: ChunkStore, call?: Call) {
    this.#store = store
    this.#outer = call?.signal
    // Not AbortSignal.any: it leaks a few hundred bytes a blob on a signal that lives as long as an import.
    this.#outer?.addEventListener('abort', this.#forward, { once: true })
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError('internal', 'write to a blob that was closed'))
    // What comes from a network comes in small pieces, most of which have to wait for nothing.
    if (this.#portion && this.#portion.roomLeft > bytes.length && !this.#failure) {
      this.#portion.fill(bytes)
      return NOTHING_TO_WAIT_FOR
    }
    return this.#write(bytes)
  }

  close(): Promise<Digest> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async abort(): Promise<void> {
    this.#outer?.removeEventListener('abort', this.#forward)
    this.#controller.abort(new StoreError('cancelled', 'the blob was given up'))
    await this.#letGo()
  }

  async #finish(): Promise<Digest> {
    try {
      this.#check()
      const digest = await this.#finishChunks()
      await Promise.all(this.#underway)
      this.#check()
      const list = encodeChunkList(this.#metas.length > 1 ? this.#metas : [])
      const { batches, objects } = this.#store
      if (batches) await batches.storeList(digest, list, this.#call)
      else await objects.put(blobKey(digest), list, { ...this.#call, ifAbsent: true })
      return digest
    } finally {
      this.#outer?.removeEventListener('abort', this.#forward)
      await this.#letGo()
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#check()
    if (!this.#cutter && !this.#first && bytes.length <= this.#store.chunker.max) {
      this.#first = bytes
      return
    }
    this.#cutter ??= await openChunkCutter(this.#store.chunker)
    const first = this.#first
    this.#first = undefined
    if (first) await this.#gather(first)
    await this.#gather(bytes)
  }

  /** Everything is cut when it resolves, and on its way. */
  async #finishChunks(): Promise<Digest> {
    const first = this.#first ?? NO_BYTES
    if (!this.#cutter && first.length <= this.#store.chunker.min) return this.#addOnly(first)
    this.#cutter ??= await openChunkCutter(this.#store.chunker)
    if (this.#first) this.#left = Promise.resolve({ bytes: first, portion: undefined })
    this.#pass(true)
    await this.#left
    return this.#metas.length === 1 ? this.#metas[0]!.digest : this.#cutter.digest()
  }

  readonly #forward = () => this.#controller.abort(this.#outer?.reason)

  get #call(): Call {
    return { signal: this.#controller.signal }
  }

  async #gather(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0; ) {
      this.#portion ??= await this.#newPortion()
      rest = rest.subarray(this.#portion.fill(rest))
      if (this.#portion.roomLeft === 0) this.#pass(false)
    }
  }

  async #newPortion(): Promise<Portion> {
    const portion = this.#store.portions.take()
    try {
      portion.onFree(await this.#places.acquire(portion.units, this.#controller.signal))
      this.#check()
      return portion
    } catch (error) {
      portion.release()
      throw error
    }
  }

  /** Cuts what was gathered, when all before it has been cut. */
  #pass(isLast: boolean): void {
    const cut = this.#cut(this.#left, this.#portion, isLast)
    this.#left = cut
    this.#portion = undefined
    this.#track(cut)
  }

  async #cut(before: Promise<Left>, portion: Portion | undefined, isLast: boolean): Promise<Left> {
    try {
      const left = await before
      const bytes = portion ? portion.behind(left.bytes) : left.bytes
      if (portion) left.portion?.release()
      const holder = portion ?? left.portion
      let start = 0
      for (const meta of await this.#cutter!.cut(bytes, isLast)) {
        this.#add(meta, bytes.subarray(start, start + meta.size), holder)
        start += meta.size
      }
      return { bytes: bytes.subarray(start), portion: holder }
    } catch (error) {
      portion?.release()
      throw error
    }
  }

  /** A blob that is too short to be cut. */
  #addOnly(bytes: Uint8Array): Digest {
    const digest = Digest.of(bytes)
    if (bytes.length > 0) this.#add({ digest, size: bytes.length }, bytes, undefined)
    return digest
  }

  /** `portion`: that the bytes are in. */
  #add(meta: ChunkMeta, bytes: Uint8Array, portion: Portion | undefined): void {
    const { digest } = meta
    this.#metas.push(meta)
    if (this.#stored.has(digest.key)) return
    this.#stored.add(digest.key)
    portion?.retain()
    const upload = this.#upload(digest, bytes).then(
      () => portion?.release(),
      (error) => {
        // Somebody may still read it: whoever stores the same chunk, or a thread that was not told of the end.
        portion?.spoil()
        portion?.release()
        throw error
      },
    )
    this.#track(upload)
  }

  /** Remembers the first failure. */
  #track(work: Promise<unknown>): void {
    const tracked = work
      .then(
        () => {},
        (error) => {
          this.#failure ??= StoreError.from(error)
        },
      )
      .finally(() => this.#underway.delete(tracked))
    this.#underway.add(tracked)
  }

  /** Asks before it compresses much: most of what is written has been written before. `put` asks in any case. */
  async #upload(digest: Digest, chunk: Uint8Array): Promise<void> {
    const { batches, objects } = this.#store
    if (batches) return await batches.storeChunk(digest, chunk, this.#call)
    const giveBack = await this.#uploads.acquire(1, this.#controller.signal)
    try {
      const key = chunkKey(digest)
      const isLarge = chunk.length > ZSTD_INLINE_BYTES_MAX
      if (isLarge && (await objects.head(key, this.#call)) !== undefined) return
      const frame = await compress(chunk)
      await objects.put(key, frame, { ...this.#call, ifAbsent: true })
    } finally {
      giveBack()
    }
  }

  /** Waits for what is underway, and gives back what it is in. */
  async #letGo(): Promise<void> {
    await Promise.all(this.#underway)
    this.#portion?.release()
    this.#portion = undefined
    const left = await this.#left.catch(() => undefined)
    this.#left = Promise.resolve({ bytes: NO_BYTES, portion: undefined })
    left?.portion?.release()
  }

  #check(): void {
    if (this.#failure) throw this.#failure
    throwIfAborted(this.#outer)
    throwIfAborted(this.#controller.signal)
  }
}
