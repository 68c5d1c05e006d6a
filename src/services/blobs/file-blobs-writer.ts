import { Digest } from '../../model/castore/digest.ts'
import { ChunkSplitter } from '../../model/castore/fastcdc.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { DISK_CACHE_CHUNKS_MAX, OBJECT_PUTS_MAX } from '../../support/limits.ts'
import type { FileObjects } from '../objects/file.ts'
import type { StreamedObject } from '../objects/file-stream.ts'
import { encodeCacheMap } from './cache-map.ts'
import { blobKey, encodePlace, mapKey, placeKey } from './file-blobs-layout.ts'
import { HashedMark } from './hashed-mark.ts'
import type { BlobWriter, ChunkMeta } from './interface.ts'
import { PieceDigester } from './piece-digester.ts'

/** Nothing of a blob that is stored is left to be filled. */
const NO_PART = '0'.repeat(16)

/**
 * Writes a blob as a file. One of a single chunk is kept in memory until its end; a larger one goes to a temp file as it
 * comes. Its name comes last: who finds a blob finds its chunks.
 */
export class FileBlobWriter implements BlobWriter {
  readonly #objects: FileObjects
  readonly #call: Call | undefined
  readonly #splitter = new ChunkSplitter()
  readonly #digester = new PieceDigester()
  readonly #metas: ChunkMeta[] = []
  #first: Uint8Array | undefined
  #file: StreamedObject | undefined
  #state: 'open' | 'aborted' | Promise<Digest> = 'open'

  constructor(objects: FileObjects, call?: Call) {
    this.#objects = objects
    this.#call = call
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#state !== 'open') throw new StoreError('internal', 'write to a blob that was closed')
    throwIfAborted(this.#call?.signal)
    for (const chunk of this.#splitter.push(bytes)) await this.#add(chunk)
  }

  close(): Promise<Digest> {
    if (this.#state === 'aborted')
      return Promise.reject(new StoreError('internal', 'close of a blob that was given up'))
    if (this.#state === 'open') this.#state = this.#finish()
    return this.#state
  }

  async abort(): Promise<void> {
    if (this.#state instanceof Promise) await this.#state.catch(() => {})
    else this.#state = 'aborted'
    await this.#file?.abort()
  }

  async #finish(): Promise<Digest> {
    throwIfAborted(this.#call?.signal)
    for (const chunk of this.#splitter.finish()) await this.#add(chunk)
    const digest = this.#digester.digest()
    if (!this.#file) {
      const bytes = this.#first ?? new Uint8Array(0)
      await this.#objects.put(blobKey(digest), bytes, { ...this.#call, ifAbsent: true })
      return digest
    }
    if ((await this.#objects.head(blobKey(digest), this.#call)) !== undefined) await this.#file.abort()
    else await this.#keep(digest, this.#file)
    return digest
  }

  async #keep(digest: Digest, file: StreamedObject): Promise<void> {
    await this.#storePlaces(digest)
    throwIfAborted(this.#call?.signal)
    await new HashedMark().setWritten(file.fd, digest)
    await file.keep(blobKey(digest))
  }

  async #storePlaces(blob: Digest): Promise<void> {
    const chunks = this.#metas
    // Larger ones are read from their beginning only.
    if (chunks.length > DISK_CACHE_CHUNKS_MAX) return
    const map = encodeCacheMap({ id: NO_PART, chunks, filled: new Uint8Array(chunks.length).fill(1) })
    await this.#objects.put(mapKey(blob), map, this.#call)
    let start = 0
    const places = chunks.map(({ digest, size }) => {
      const place = { digest, place: { blob, start, size } }
      start += size
      return place
    })
    // A place that is there is replaced: the blob that it is in may have been deleted.
    const stored = mapConcurrent(
      places,
      OBJECT_PUTS_MAX / 2,
      ({ digest, place }, inner) => this.#objects.put(placeKey(digest), encodePlace(place), inner),
      this.#call,
    )
    for await (const _ of stored);
  }

  async #add(chunk: Uint8Array): Promise<void> {
    throwIfAborted(this.#call?.signal)
    this.#digester.update(chunk)
    this.#metas.push({ digest: Digest.of(chunk), size: chunk.length })
    if (this.#metas.length === 1) {
      this.#first = chunk
      return
    }
    this.#file ??= await this.#start()
    await this.#file.write(chunk)
  }

  async #start(): Promise<StreamedObject> {
    const file = await this.#objects.startObject(this.#call)
    try {
      await file.write(this.#first!)
    } catch (error) {
      await file.abort()
      throw error
    }
    this.#first = undefined
    return file
  }
}
