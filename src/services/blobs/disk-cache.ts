import type { FileHandle } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'
import { Digest, Digester, EMPTY_DIGEST } from '../../model/castore/digest.ts'
import { concatBytes } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent, SingleFlight } from '../../support/concurrency.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import {
  CACHE_CHUNK_LISTS_MAX,
  CACHE_HELD_BYTES_MAX,
  CHUNK_READS_MAX,
  DISK_CACHE_CHUNKS_MAX,
  DISK_CACHE_REFUSED_MAX,
} from '../../support/limits.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import type { Source, SourceSet } from '../source-set.ts'
import { CacheEviction } from './cache-eviction.ts'
import { CacheFolder, Layout, type NewFile } from './cache-folder.ts'
import { checkChunkList } from './chunk-list.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import { readBlob } from './read-blob.ts'
import { FileVerification, filePieces, type LocalFile } from './verified-file.ts'

export interface DiskCache extends BlobService, AsyncDisposable {
  /** `undefined` when the blob is not whole on this disk; nothing is fetched for it. */
  openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined>
  /** Resolves when nothing is done in the background. */
  settled(): Promise<void>
}

export interface DiskCacheOptions {
  readonly path: string
  readonly bytesMax: number
  /** Hears of failures of the folder, which are survived. */
  readonly faults?: Pick<SourceSet<BlobService>, 'failed'>
  readonly logger?: Logger
}

/**
 * Keeps the blobs that are read from `far` as raw files in a folder, which several processes may share. A blob that
 * is read chunk by chunk fills a sparse file, at the places where the chunks belong; what is read is verified every
 * time, and what proves wrong is fetched again. Far must verify. The folder failing costs time, and nothing else.
 */
export async function openDiskCache(far: Source<BlobService>, options: DiskCacheOptions): Promise<DiskCache> {
  return new DiskBlobCache(far, await CacheFolder.open(options.path), options)
}

/** What the system says when a disk, or a share of one, takes no more. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

/** A blob on its way from far: all of it, or its beginning and the rest. */
type Fetched = { readonly bytes: Uint8Array } | { rest: AsyncGenerator<Uint8Array> | undefined } | undefined

class DiskBlobCache implements DiskCache {
  readonly #far: Source<BlobService>
  readonly #folder: CacheFolder
  readonly #here: Source<BlobService>
  readonly #faults: Pick<SourceSet<BlobService>, 'failed'> | undefined
  readonly #eviction: CacheEviction
  readonly #verification = new FileVerification()
  readonly #fetches = new SingleFlight<string, Fetched>()
  readonly #chunkFetches = new SingleFlight<string, Uint8Array>()
  readonly #background = new Set<Promise<void>>()
  /** Which chunk of which blob a digest is, for the blobs that were asked about last. */
  readonly #places = new Map<string, { readonly layout: Layout; readonly index: number }>()
  readonly #layouts = new LRUCache<string, Layout>({
    maxSize: CACHE_CHUNK_LISTS_MAX,
    sizeCalculation: ({ chunks }) => Math.min(chunks.length, CACHE_CHUNK_LISTS_MAX),
    dispose: (layout) => this.#forgetPlaces(layout),
  })
  /** Their chunks are right, but not theirs. */
  readonly #refused = new LRUCache<string, true>({ max: DISK_CACHE_REFUSED_MAX })

  constructor(far: Source<BlobService>, folder: CacheFolder, options: DiskCacheOptions) {
    this.#far = far
    this.#folder = folder
    this.#here = { name: options.path, service: this }
    this.#faults = options.faults
    this.#eviction = new CacheEviction(options.path, options.bytesMax, options.logger ?? silentLogger)
  }

  async has(digest: Digest, call?: Call): Promise<boolean> {
    throwIfAborted(call?.signal)
    const whole = await this.#try(() => this.#folder.openWhole(digest))
    await whole?.close()
    return whole !== undefined || (await this.#far.service.has(digest, call))
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    throwIfAborted(call?.signal)
    const known = await this.#layout(digest)
    if (known) return known.chunks
    const size = await this.#try(() => this.#wholeSize(digest))
    if (size !== undefined && size <= CACHE_HELD_BYTES_MAX) return []
    const list = await this.#farChunks(digest, size !== undefined, call)
    if (list && list.length > 1 && list.length <= DISK_CACHE_CHUNKS_MAX && !this.#refused.has(digest.key)) {
      const layout = new Layout(digest, list)
      if (size !== undefined) layout.filled.fill(1)
      this.#remember(layout)
    }
    return list
  }

  /** A large blob that is here as a whole is better read in chunks; if far is gone, it is still here. */
  async #farChunks(
    digest: Digest,
    isHere: boolean,
    call: Call | undefined,
  ): Promise<readonly ChunkMeta[] | undefined> {
    try {
      return (await this.#far.service.chunks(digest, call)) ?? (isHere ? [] : undefined)
    } catch (error) {
      if (!isHere || call?.signal?.aborted) throw error
      return []
    }
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    throwIfAborted(call?.signal)
    if (digest.equals(EMPTY_DIGEST)) return await this.#far.service.openRead(digest, call)
    const place = this.#places.get(digest.key)
    if (place) return pieces([await this.#chunk(place.layout, place.index, call)])
    const layout = await this.#layout(digest)
    if (layout) return this.#fromChunks(layout, call)
    return (await this.#openHere(digest, call)) ?? (await this.#fetch(digest, call))
  }

  openWrite(call?: Call): BlobWriter {
    return this.#far.service.openWrite(call)
  }

  async openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined> {
    const file = await this.#try(() => this.#folder.openWhole(digest))
    if (!file) return undefined
    try {
      const { size } = await file.stat()
      const verdict = await this.#verification.verify(file, digest, call)
      if (verdict !== 'wrong')
        return {
          fd: file.fd,
          size,
          wasRead: verdict === 'read',
          [Symbol.asyncDispose]: () => file.close(),
        }
    } catch (error) {
      await file.close()
      if (call?.signal?.aborted) throw error
      this.#faults?.failed(this.#here, error)
      return undefined
    }
    await file.close()
    await this.#spoilt(digest)
    return undefined
  }

  async settled(): Promise<void> {
    await Promise.all(this.#background)
    await this.#eviction.settled()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.settled()
  }

  // — Whole blobs —

  /** Small ones are verified before they are handed out, large ones at their end. */
  async #openHere(digest: Digest, call: Call | undefined): Promise<BlobStream | undefined> {
    const file = await this.#try(() => this.#folder.openWhole(digest))
    if (!file) return undefined
    const size = await this.#try(async () => (await file.stat()).size)
    if (size !== undefined && size > CACHE_HELD_BYTES_MAX) return this.#verifiedPieces(file, digest, call)
    const bytes = size === undefined ? undefined : await this.#try(() => readWhole(file, size))
    await file.close()
    if (bytes && Digest.of(bytes).equals(digest)) return pieces([bytes])
    await this.#spoilt(digest)
    return undefined
  }

  /** `undefined` when it is not here as a whole. */
  async #wholeSize(digest: Digest): Promise<number | undefined> {
    const file = await this.#folder.openWhole(digest)
    try {
      return file && (await file.stat()).size
    } finally {
      await file?.close()
    }
  }

  async *#verifiedPieces(
    file: FileHandle,
    digest: Digest,
    call: Call | undefined,
  ): AsyncGenerator<Uint8Array> {
    const digester = new Digester()
    let last: Uint8Array | undefined
    try {
      for await (const piece of filePieces(file, call)) {
        digester.update(piece)
        if (last) yield last
        last = piece
      }
    } catch (error) {
      if (call?.signal?.aborted) throw error
      await this.#spoilt(digest)
      const message = `blob ${digest} in ${this.#folder.path} could not be read to its end; read it again`
      throw new StoreError('unavailable', message, { cause: error })
    } finally {
      await file.close()
    }
    if (!digester.digest().equals(digest)) {
      await this.#spoilt(digest)
      throw new StoreError('corrupt', `blob ${digest} in ${this.#folder.path} was corrupt; read it again`)
    }
    if (last) yield last
  }

  async #fetch(digest: Digest, call: Call | undefined): Promise<BlobStream | undefined> {
    const fetched = await this.#fetches.run(digest.key, (inner) => this.#fetchStart(digest, inner), call)
    if (!fetched) return undefined
    if ('bytes' in fetched) return pieces([new Uint8Array(fetched.bytes)])
    // The first to come has the rest of the stream; the others read for themselves.
    const { rest } = fetched
    fetched.rest = undefined
    return rest ? heeding(rest, call) : await this.#far.service.openRead(digest, call)
  }

  async #fetchStart(digest: Digest, call: Call): Promise<Fetched> {
    const stream = await this.#far.service.openRead(digest, call)
    if (!stream) return undefined
    const source = stream[Symbol.asyncIterator]()
    const held: Uint8Array[] = []
    let size = 0
    for (let piece = await source.next(); !piece.done; piece = await source.next()) {
      held.push(piece.value)
      size += piece.value.length
      if (size > CACHE_HELD_BYTES_MAX) return { rest: this.#copied(digest, held, source) }
    }
    await this.#try(async () => {
      const file = await this.#folder.startWhole(digest)
      await writing(file, async () => {
        for (const piece of held) await file.write(piece)
        await file.keep()
      })
      this.#eviction.wrote(size)
    })
    return { bytes: held.length === 1 ? held[0]! : concatBytes(held, size) }
  }

  /** Hands on a large blob and keeps it when it was read to its end. */
  async *#copied(
    digest: Digest,
    held: readonly Uint8Array[],
    source: AsyncIterator<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    let file = await this.#try(() => this.#folder.startWhole(digest))
    const write = async (piece: Uint8Array) => {
      const done = await this.#try(async () => {
        await file!.write(piece)
        return true
      })
      this.#eviction.wrote(piece.length)
      if (done) return
      await file!.abort().catch(() => {})
      file = undefined
    }
    try {
      for (const piece of held) {
        if (file) await write(piece)
        yield piece
      }
      for (let piece = await source.next(); !piece.done; piece = await source.next()) {
        if (file) await write(piece.value)
        yield piece.value
      }
      await this.#try(async () => file?.keep())
      file = undefined
    } finally {
      await source.return?.()
      await file?.abort().catch(() => {})
    }
  }

  // — Blobs of chunks —

  async #layout(digest: Digest): Promise<Layout | undefined> {
    const known = this.#layouts.get(digest.key)
    if (known) return known
    const stored = await this.#try(() => this.#folder.readLayout(digest))
    if (!stored) return undefined
    checkChunkList(digest, stored.chunks, this.#folder.path)
    this.#remember(stored)
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
    const here = await this.#try(() => this.#folder.readChunk(layout, index))
    const { digest } = layout.chunks[index]!
    if (here && Digest.of(here).equals(digest)) {
      // Another process filled this one, which may have been the last that was missing.
      if (!wasFilled && layout.isFilled) this.#inBackground(this.#complete(layout))
      return here
    }
    if (here) await this.#try(() => this.#folder.spoilChunk(layout, index))
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
    await this.#try(async () => {
      if (this.#refused.has(layout.digest.key)) return
      await this.#folder.fillChunk(layout, index, chunk)
      this.#eviction.wrote(size)
      if (layout.isFilled) this.#inBackground(this.#complete(layout))
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
    await this.#spoilt(layout.digest)
  }

  /** Proves that the chunks are the blob, and makes a plain file of them. */
  async #complete(layout: Layout): Promise<void> {
    const file = await this.#folder.openComplete(layout)
    if (!file) return
    let isRight: boolean
    try {
      isRight = (await this.#verification.verify(file, layout.digest, undefined)) !== 'wrong'
    } finally {
      await file.close()
    }
    if (isRight) return await this.#folder.keep(layout)
    this.#refused.set(layout.digest.key, true)
    await this.#spoilt(layout.digest)
  }

  // — Both —

  async #spoilt(digest: Digest): Promise<void> {
    this.#faults?.failed(
      this.#here,
      new StoreError('corrupt', `blob ${digest} was corrupt or could not be read, and is removed`),
    )
    this.#layouts.delete(digest.key)
    await this.#try(() => this.#folder.discard(digest))
  }

  /** What the folder cannot do is done without it. */
  async #try<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (FULL.has(systemCode(error) ?? '')) this.#eviction.diskIsFull()
      this.#faults?.failed(this.#here, error)
      return undefined
    }
  }

  #inBackground(work: Promise<void>): void {
    const running = work
      .catch((error: unknown) => this.#faults?.failed(this.#here, error))
      .finally(() => this.#background.delete(running))
    this.#background.add(running)
  }
}

async function readWhole(file: FileHandle, size: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(size)
  await file.read(bytes, 0, size, 0)
  return bytes
}

async function writing(file: NewFile, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    await file.abort()
    throw error
  }
}

/** What was opened for several ends for each with a signal of its own. */
async function* heeding(
  stream: AsyncGenerator<Uint8Array>,
  call: Call | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const piece of stream) {
    throwIfAborted(call?.signal)
    yield piece
  }
}

async function* pieces(list: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const piece of list) if (piece.length > 0) yield piece
}
