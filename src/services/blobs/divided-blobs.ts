import { LRUCache } from 'lru-cache'
import { Digest } from '../../model/castore/digest.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent, SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import {
  CACHE_CHUNK_LISTS_MAX,
  CHUNK_READS_MAX,
  DISK_CACHE_CHUNKS_MAX,
  DISK_CACHE_REFUSED_MAX,
} from '../../support/limits.ts'
import type { Source } from '../source-set.ts'
import { type CacheFolder, Layout } from './cache-folder.ts'
import { checkChunkList } from './chunk-list.ts'
import type { GuardedFolder } from './guarded-folder.ts'
import type { BlobService, BlobStream, ChunkMeta } from './interface.ts'
import { readBlob } from './read-blob.ts'

/** The blobs that a cache folder fills chunk by chunk, at the places where the chunks belong. */
export class DividedBlobs {
  readonly #far: Source<BlobService>
  readonly #folder: GuardedFolder
  readonly #files: CacheFolder
  readonly #chunkFetches = new SingleFlight<string, Uint8Array>()
  /** Which chunk of which blob a digest is, for the blobs that were asked about last. */
  readonly #places = new Map<string, { readonly layout: Layout; readonly index: number }>()
  readonly #layouts = new LRUCache<string, Layout>({
    maxSize: CACHE_CHUNK_LISTS_MAX,
    sizeCalculation: ({ chunks }) => Math.min(chunks.length, CACHE_CHUNK_LISTS_MAX),
    dispose: (layout) => this.#forgetPlaces(layout),
  })
  /** Their chunks are right, but not theirs. */
  readonly #refused = new LRUCache<string, true>({ max: DISK_CACHE_REFUSED_MAX })

  constructor(far: Source<BlobService>, folder: GuardedFolder) {
    this.#far = far
    this.#folder = folder
    this.#files = folder.files
    folder.onSpoilt = (digest) => this.#layouts.delete(digest.key)
  }

  /** What is known here of how a blob divides. */
  async chunks(digest: Digest): Promise<readonly ChunkMeta[] | undefined> {
    return (await this.#layout(digest))?.chunks
  }

  /** Takes note of what far says. `isWhole`: all of the blob is here. */
  learn(digest: Digest, list: readonly ChunkMeta[], isWhole: boolean): void {
    if (list.length < 2 || list.length > DISK_CACHE_CHUNKS_MAX || this.#refused.has(digest.key)) return
    const layout = new Layout(digest, list)
    if (isWhole) layout.filled.fill(1)
    this.#remember(layout)
  }

  /** A blob that is known to divide, or a chunk of one; `undefined` for others. */
  async open(digest: Digest, call: Call | undefined): Promise<BlobStream | undefined> {
    const place = this.#places.get(digest.key)
    if (place) return single(await this.#chunk(place.layout, place.index, call))
    const layout = await this.#layout(digest)
    return layout && this.#fromChunks(layout, call)
  }

  async #layout(digest: Digest): Promise<Layout | undefined> {
    const known = this.#layouts.get(digest.key)
    if (known) return known
    const stored = await this.#folder.attempt(() => this.#files.readLayout(digest))
    if (!stored) return undefined
    checkChunkList(digest, stored.chunks, this.#files.path)
    this.#remember(stored)
    // Whoever filled it may have been killed before it was proven.
    if (stored.isFilled) this.#folder.inBackground(this.#complete(stored))
    return stored
  }

  #remember(layout: Layout): void {
    this.#layouts.set(layout.digest.key, layout)
    for (const [index, { digest }] of layout.chunks.entries()) this.#places.set(digest.key, { layout, index })
  }

  #forgetPlaces(layout: Layout): void {
    for (const { digest } of layout.chunks)
      if (this.#places.get(digest.key)?.layout === layout) this.#places.delete(digest.key)
  }

  #fromChunks(layout: Layout, call: Call | undefined): BlobStream {
    const indices = layout.chunks.keys()
    return mapConcurrent(indices, CHUNK_READS_MAX, (index, inner) => this.#chunk(layout, index, inner), call)
  }

  async #chunk(layout: Layout, index: number, call: Call | undefined): Promise<Uint8Array> {
    throwIfAborted(call?.signal)
    const wasFilled = layout.filled[index] === 1
    const here = await this.#folder.attempt(() => this.#files.readChunk(layout, index))
    const { digest } = layout.chunks[index]!
    if (here && Digest.of(here).equals(digest)) {
      // Another process filled this one, which may have been the last that was missing.
      if (!wasFilled && layout.isFilled) this.#folder.inBackground(this.#complete(layout))
      return here
    }
    if (here) await this.#folder.attempt(() => this.#files.spoilChunk(layout, index))
    const chunk = await this.#chunkFetches.run(
      digest.key,
      (inner) => this.#fetchChunk(layout, index, inner),
      call,
    )
    return new Uint8Array(chunk)
  }

  async #fetchChunk(layout: Layout, index: number, call: Call): Promise<Uint8Array> {
    const { digest, size } = layout.chunks[index]!
    const chunk = await readBlob(this.#far.service, digest, size, call)
    if (!chunk) {
      await this.#doubt(layout, call)
      throw new StoreError(
        'corrupt',
        `${this.#far.name} lists chunk ${digest} of blob ${layout.digest}, but does not have it`,
      )
    }
    await this.#folder.attempt(async () => {
      if (this.#refused.has(layout.digest.key)) return
      await this.#files.fillChunk(layout, index, chunk)
      this.#folder.wrote(size)
      if (layout.isFilled) this.#folder.inBackground(this.#complete(layout))
    })
    return chunk
  }

  /** Nothing proves a list of chunks but what comes of it: one that far no longer stands by is forgotten. */
  async #doubt(layout: Layout, call: Call): Promise<void> {
    const told = await this.#far.service.chunks(layout.digest, call)
    const isSame =
      told?.length === layout.chunks.length &&
      told.every(({ digest, size }, index) => {
        const known = layout.chunks[index]!
        return digest.equals(known.digest) && size === known.size
      })
    if (isSame) return
    this.#forgetPlaces(layout)
    await this.#folder.spoilt(layout.digest)
  }

  /** Proves that the chunks are the blob, and makes a plain file of them. */
  async #complete(layout: Layout): Promise<void> {
    const file = await this.#files.openComplete(layout)
    if (!file) return
    let isRight: boolean
    try {
      isRight = (await this.#folder.verification.verify(file, layout.digest, undefined)) !== 'wrong'
    } finally {
      await file.close()
    }
    if (isRight) return await this.#files.keep(layout)
    this.#refused.set(layout.digest.key, true)
    await this.#folder.spoilt(layout.digest)
  }
}

async function* single(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  if (chunk.length > 0) yield chunk
}
