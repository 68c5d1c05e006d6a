import { LRUCache } from 'lru-cache'
import type { Digest } from '../../model/castore/digest.ts'
import { concatBytes } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { mapConcurrent, SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import {
  CACHE_CHUNK_LISTS_MAX,
  CACHE_CORRUPT_MAX,
  CACHE_HELD_BYTES_MAX,
  CHUNK_READS_MAX,
} from '../../support/limits.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import { readBlob } from './read-blob.ts'

/** What a fill leaves behind: the bytes, if there are few; else the blob is to be had from where it says. */
type Filled = { readonly bytes: Uint8Array } | { readonly from: Source<BlobService> } | undefined

/**
 * Keeps near what is read from far (spec §3.2, "cache"). Both sides must verify: near gets only what far has proven,
 * and a near that is corrupt is passed over. A near that fails costs time and a line in the log, nothing else; but
 * absence is said only when both answered.
 *
 * Blobs that far offers in chunks are read chunk by chunk, each from near if it is there; the others are copied
 * before they are handed out. Writes go to near (`write-through` is for those who want both).
 */
export function cacheBlobService(
  near: Source<BlobService>,
  far: Source<BlobService>,
  set: SourceSet<BlobService>,
): BlobService {
  return new CacheBlobService(near, far, set)
}

class CacheBlobService implements BlobService {
  readonly #near: Source<BlobService>
  readonly #far: Source<BlobService>
  /** Of near and far. */
  readonly #set: SourceSet<BlobService>
  readonly #fills = new SingleFlight<string, Filled>()
  /** Blobs of several chunks that somebody is putting together in near. */
  readonly #assembling = new Set<string>()
  /** Asking far again for every read would make a request of every hit. */
  readonly #lists = new LRUCache<string, readonly ChunkMeta[]>({
    maxSize: CACHE_CHUNK_LISTS_MAX,
    sizeCalculation: (list) => Math.min(Math.max(1, list.length), CACHE_CHUNK_LISTS_MAX),
  })
  /** Corrupt in near, where nothing is overwritten: read from far until somebody repairs that. */
  readonly #corrupt = new LRUCache<string, true>({ max: CACHE_CORRUPT_MAX })

  constructor(near: Source<BlobService>, far: Source<BlobService>, set: SourceSet<BlobService>) {
    this.#near = near
    this.#far = far
    this.#set = set
  }

  async has(digest: Digest, call?: Call): Promise<boolean> {
    const found = await this.#set.ask(
      call,
      async (each, inner) => (await each.has(digest, inner)) || undefined,
    )
    return found !== undefined
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    const known = this.#lists.get(digest.key)
    if (known) return known
    const found = await this.#set.ask(call, (each, inner) => each.chunks(digest, inner))
    if (found && found.from === this.#far && found.value.length > 0) this.#lists.set(digest.key, found.value)
    return found?.value
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    const near = await this.#openNear(digest, call)
    if (near.stream) return near.stream
    const list = await this.#farChunks(digest, call)
    if (!list) {
      if (near.failure) throw near.failure
      return undefined
    }
    if (list.length > 1) return this.#assemble(digest, list, call)
    return await this.#openFilled(digest, call, near.failure)
  }

  openWrite(call?: Call): BlobWriter {
    return this.#near.service.openWrite(call)
  }

  async #farChunks(digest: Digest, call: Call | undefined): Promise<readonly ChunkMeta[] | undefined> {
    const known = this.#lists.get(digest.key)
    if (known) return known
    const list = await this.#far.service.chunks(digest, call)
    if (list && list.length > 1) this.#lists.set(digest.key, list)
    return list
  }

  /** `stream` when near has it; `failure` when it could not say. */
  async #openNear(
    digest: Digest,
    call: Call | undefined,
  ): Promise<{ readonly stream?: BlobStream; readonly failure?: StoreError }> {
    if (this.#corrupt.has(digest.key)) return {}
    try {
      const stream = await this.#near.service.openRead(digest, call)
      if (!stream) return {}
      const pieces = stream[Symbol.asyncIterator]()
      // The first piece now: most blobs are a single one, and what goes wrong before it can be read from far instead.
      const first = await pieces.next()
      return { stream: first.done ? none() : this.#nearPieces(digest, first.value, pieces, call) }
    } catch (error) {
      return { failure: this.#nearFailed(digest, error, call) }
    }
  }

  /** Goes on from far where near breaks off. The layer above compares the digest of it all. */
  async *#nearPieces(
    digest: Digest,
    first: Uint8Array,
    pieces: AsyncIterator<Uint8Array>,
    call: Call | undefined,
  ): AsyncGenerator<Uint8Array> {
    let delivered = 0
    try {
      for (
        let piece: IteratorResult<Uint8Array> = { value: first };
        !piece.done;
        piece = await pieces.next()
      ) {
        delivered += piece.value.length
        yield piece.value
      }
      return
    } catch (error) {
      this.#nearFailed(digest, error, call)
    } finally {
      await pieces.return?.()
    }
    yield* await this.#farFrom(digest, delivered, call)
  }

  async #farFrom(digest: Digest, offset: number, call: Call | undefined): Promise<BlobStream> {
    const list = await this.#far.service.chunks(digest, call)
    const rest = list && behind(list, offset)
    if (rest && rest.chunks.length > 0 && list.length > 1)
      return skipping(this.#chunkStream(rest.chunks, call), rest.skip)
    const stream = await this.#far.service.openRead(digest, call)
    if (!stream) throw missing(digest, this.#near.name, this.#far.name)
    return skipping(stream, offset)
  }

  /** Survived, unless it is the caller who gave up. */
  #nearFailed(digest: Digest, error: unknown, call: Call | undefined): StoreError {
    if (call?.signal?.aborted) throw StoreError.from(call.signal.reason)
    const failure = StoreError.from(error)
    if (failure.code === 'corrupt') this.#corrupt.set(digest.key, true)
    this.#set.failed(this.#near, failure)
    return failure
  }

  /** Copies the blob, once for all who ask, then hands it out. */
  async #openFilled(
    digest: Digest,
    call: Call | undefined,
    nearFailure: StoreError | undefined,
  ): Promise<BlobStream | undefined> {
    const filled = await this.#fills.run(digest.key, (inner) => this.#fill(digest, inner), call)
    if (filled && 'bytes' in filled) return filled.bytes.length > 0 ? one(filled.bytes) : none()
    if (filled) return await filled.from.service.openRead(digest, call)
    if (nearFailure) throw nearFailure
    return undefined
  }

  async #fill(digest: Digest, call: Call): Promise<Filled> {
    const stream = await this.#far.service.openRead(digest, call)
    if (!stream) return undefined
    const copy = this.#copyTo(digest, call)
    const held: Uint8Array[] = []
    let size = 0
    try {
      for await (const piece of stream) {
        size += piece.length
        if (size <= CACHE_HELD_BYTES_MAX) held.push(piece)
        else {
          held.length = 0
          // Nobody keeps it: it is read from far as it comes.
          if (!copy.isOpen) return { from: this.#far }
        }
        await copy.write(piece)
      }
    } catch (error) {
      await copy.abort()
      throw error
    }
    const kept = await copy.close()
    if (size <= CACHE_HELD_BYTES_MAX) return { bytes: held.length === 1 ? held[0]! : concatBytes(held, size) }
    return { from: kept ? this.#near : this.#far }
  }

  /** The blob from its chunks, and near what comes of it when it was read to its end. */
  async *#assemble(
    digest: Digest,
    list: readonly ChunkMeta[],
    call: Call | undefined,
  ): AsyncGenerator<Uint8Array> {
    const isFirst = !this.#assembling.has(digest.key) && !this.#corrupt.has(digest.key)
    const copy = isFirst ? this.#copyTo(digest, call) : undefined
    if (copy) this.#assembling.add(digest.key)
    try {
      let complete = 0
      for await (const chunk of this.#chunkStream(list, call)) {
        await copy?.write(chunk)
        // The copy first: whoever has read the last piece finds the blob near.
        if (++complete === list.length && copy && !(await copy.close())) this.#lists.delete(digest.key)
        yield chunk
      }
    } catch (error) {
      // Nothing proves a list but what comes of it: one that leads nowhere is asked for again.
      if (StoreError.from(error).code === 'corrupt') this.#lists.delete(digest.key)
      throw error
    } finally {
      await copy?.abort()
      if (copy) this.#assembling.delete(digest.key)
    }
  }

  #chunkStream(list: readonly ChunkMeta[], call: Call | undefined): AsyncIterable<Uint8Array> {
    return mapConcurrent(
      list,
      CHUNK_READS_MAX,
      async ({ digest, size }, inner) => {
        const chunk = await readBlob(this, digest, size, { ...call, ...inner })
        if (!chunk) throw missing(digest, this.#near.name, this.#far.name)
        return chunk
      },
      call,
    )
  }

  #copyTo(digest: Digest, call: Call | undefined): NearCopy {
    return new NearCopy(this.#near.service, digest, call, (error) => this.#nearFailed(digest, error, call))
  }
}

/** Writes a blob to near as long as that works. */
class NearCopy {
  readonly #digest: Digest
  readonly #failed: (error: unknown) => void
  #writer: BlobWriter | undefined

  constructor(near: BlobService, digest: Digest, call: Call | undefined, failed: (error: unknown) => void) {
    this.#digest = digest
    this.#failed = failed
    try {
      this.#writer = near.openWrite(call)
    } catch (error) {
      failed(error)
    }
  }

  get isOpen(): boolean {
    return this.#writer !== undefined
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#try((writer) => writer.write(bytes))
  }

  /** Whether near has it now. */
  async close(): Promise<boolean> {
    return await this.#try(async (writer) => {
      const stored = await writer.close()
      this.#writer = undefined
      if (!stored.equals(this.#digest))
        throw new StoreError('corrupt', `stored blob ${this.#digest} as ${stored}`)
    })
  }

  /** Does nothing after `close`. */
  async abort(): Promise<void> {
    const writer = this.#writer
    this.#writer = undefined
    await writer?.abort().catch(() => {})
  }

  async #try(work: (writer: BlobWriter) => Promise<void>): Promise<boolean> {
    if (!this.#writer) return false
    try {
      await work(this.#writer)
      return true
    } catch (error) {
      await this.abort()
      this.#failed(error)
      return false
    }
  }
}

/** The chunks that hold what comes after `offset`, and how much of the first lies before it. */
function behind(
  list: readonly ChunkMeta[],
  offset: number,
): { readonly chunks: readonly ChunkMeta[]; readonly skip: number } {
  let start = 0
  for (const [index, { size }] of list.entries()) {
    if (offset < start + size) return { chunks: list.slice(index), skip: offset - start }
    start += size
  }
  return { chunks: [], skip: 0 }
}

async function* skipping(stream: BlobStream, bytes: number): AsyncGenerator<Uint8Array> {
  let skip = bytes
  for await (const piece of stream) {
    const fresh = piece.subarray(Math.min(skip, piece.length))
    skip -= piece.length - fresh.length
    if (fresh.length > 0) yield fresh
  }
}

async function* one(piece: Uint8Array): AsyncGenerator<Uint8Array> {
  // A copy: it is shared by all who asked at the same time, and each piece belongs to its reader.
  yield new Uint8Array(piece)
}

async function* none(): AsyncGenerator<Uint8Array> {}

function missing(digest: Digest, near: string, far: string): StoreError {
  return new StoreError('corrupt', `blob ${digest} is listed, but neither ${near} nor ${far} has it`)
}
