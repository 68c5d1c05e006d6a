import { Digest } from '../../model/castore/digest.ts'
import { Chunker, ChunkSplitter } from '../../model/castore/fastcdc.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { CHUNK_UPLOADS_MAX, ZSTD_INLINE_BYTES_MAX } from '../../support/limits.ts'
import { compress } from '../../support/zstd.ts'
import { looksLikeNoise } from '../../support/zstd-stored.ts'
import type { ObjectStore } from '../objects/interface.ts'
import type { BlobBatches } from './blob-batches.ts'
import { encodeChunkList } from './chunk-list.ts'
import type { BlobWriter, ChunkMeta } from './interface.ts'
import { blobKey, chunkKey } from './object-keys.ts'
import { PieceDigester } from './piece-digester.ts'

/**
 * Cuts a blob into chunks while it is written and stores a few of them at a time; a writer that is ahead of the
 * store waits. Aborted or killed, it leaves chunks that nothing refers to.
 */
export class ObjectStoreBlobWriter implements BlobWriter {
  readonly #objects: ObjectStore
  readonly #batches: BlobBatches | undefined
  readonly #splitter: ChunkSplitter
  readonly #digester = new PieceDigester()
  readonly #metas: ChunkMeta[] = []
  /** Digests of the chunks so far: within a blob the same one is stored once. */
  readonly #stored = new Set<string>()
  readonly #uploads = new Set<Promise<void>>()
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  #failure: StoreError | undefined
  #closed: Promise<Digest> | undefined

  /** `batches`: a faster way for chunks, if there is one. */
  constructor(
    objects: ObjectStore,
    batches: BlobBatches | undefined,
    averageChunkBytes: number,
    call?: Call,
  ) {
    this.#objects = objects
    this.#batches = batches
    this.#splitter = new ChunkSplitter(new Chunker(averageChunkBytes))
    this.#outer = call?.signal
    // Not AbortSignal.any: it leaks a few hundred bytes a blob on a signal that lives as long as an import.
    this.#outer?.addEventListener('abort', this.#forward, { once: true })
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) throw new StoreError('internal', 'write to a blob that was closed')
    this.#check()
    for (const chunk of this.#splitter.push(bytes)) await this.#add(chunk)
  }

  close(): Promise<Digest> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async abort(): Promise<void> {
    this.#outer?.removeEventListener('abort', this.#forward)
    this.#controller.abort(new StoreError('cancelled', 'the blob was given up'))
    await Promise.allSettled(this.#uploads)
  }

  async #finish(): Promise<Digest> {
    try {
      this.#check()
      for (const chunk of this.#splitter.finish()) await this.#add(chunk)
      await Promise.all(this.#uploads)
      this.#check()
      const digest = this.#metas.length === 1 ? this.#metas[0]!.digest : this.#digester.digest()
      const list = encodeChunkList(this.#metas.length > 1 ? this.#metas : [])
      await this.#objects.put(blobKey(digest), list, { ...this.#call, ifAbsent: true })
      return digest
    } finally {
      this.#outer?.removeEventListener('abort', this.#forward)
    }
  }

  readonly #forward = () => this.#controller.abort(this.#outer?.reason)

  get #call(): Call {
    return { signal: this.#controller.signal }
  }

  async #add(chunk: Uint8Array): Promise<void> {
    this.#digester.update(chunk)
    const digest = Digest.of(chunk)
    this.#metas.push({ digest, size: chunk.length })
    if (this.#stored.has(digest.key)) return
    this.#stored.add(digest.key)
    this.#startUpload(digest, chunk)
    while (this.#uploads.size >= CHUNK_UPLOADS_MAX) await Promise.race(this.#uploads)
    this.#check()
  }

  #startUpload(digest: Digest, chunk: Uint8Array): void {
    const upload = this.#upload(digest, chunk)
      .catch((error) => {
        this.#failure ??= StoreError.from(error)
      })
      .finally(() => this.#uploads.delete(upload))
    this.#uploads.add(upload)
  }

  /** Asks before it compresses much: most of what is written has been written before. `put` asks in any case. */
  async #upload(digest: Digest, chunk: Uint8Array): Promise<void> {
    if (this.#batches && !looksLikeNoise(chunk))
      return await this.#batches.storeChunk(digest, chunk, this.#call)
    const key = chunkKey(digest)
    const isLarge = chunk.length > ZSTD_INLINE_BYTES_MAX
    if (isLarge && (await this.#objects.head(key, this.#call)) !== undefined) return
    const frame = await compress(chunk)
    await this.#objects.put(key, frame, { ...this.#call, ifAbsent: true })
  }

  #check(): void {
    if (this.#failure) throw this.#failure
    throwIfAborted(this.#outer)
    throwIfAborted(this.#controller.signal)
  }
}
