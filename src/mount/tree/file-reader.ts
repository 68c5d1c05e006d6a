import type { Digest } from '../../model/castore/digest.ts'
import type { BlobService } from '../../services/blobs/interface.ts'
import { type Call, withDeadline } from '../../support/call.ts'
import { mapConcurrent, Semaphore } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import {
  CHUNK_BYTES_AVG,
  CHUNK_READS_MAX,
  MOUNT_CALL_MS_MAX,
  MOUNT_WHOLE_BYTES_MAX,
  UNCHUNKED_BLOB_BYTES_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { collectExactly } from './blob-bytes.ts'
import { CachedFetch, type Wanted } from './cached-fetch.ts'
import { ChunkList } from './chunk-list.ts'
import { missing, sourceFailure } from './failures.ts'
import type { Soon } from './interface.ts'
import type { Range } from './read-ahead.ts'
import type { ReadPlan } from './read-plan.ts'
import { whenReady } from './soon.ts'
import { SourceDistance } from './source-distance.ts'
import type { MountStats } from './stats.ts'

/**
 * Blobs up to the smallest chunk (half the average) are a single chunk for whoever chunks as we do, and for
 * anybody else they are quick to read as a whole: asking for their chunks would only be a round trip more.
 */
const UNDIVIDED_BYTES_MAX = CHUNK_BYTES_AVG / 2

/** A quicker way to chunks of this machine than `blobs`. What it gives is verified; what it has not, `blobs` is asked for. */
export interface LocalChunkReads {
  readVerified(chunk: FileContents): Promise<Uint8Array | undefined>
  /** Without waiting. */
  readVerifiedNow(chunk: FileContents): Uint8Array | undefined
}

export interface FileReaderOptions {
  readonly blobs: Pick<BlobService, 'chunks' | 'openRead'>
  readonly localChunks: LocalChunkReads | undefined
  readonly source: string
  readonly chunkCacheBytes: number
  readonly chunkListsMax: number
  readonly fetchesMax: number
  readonly fetchBytesMax: number
  /** For the requests that bring no contents. */
  readonly slots: Semaphore
  readonly stats: MountStats
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number
  /** Hears of read-ahead that failed. */
  readonly logger: Logger
  /** Ends what runs in the background. */
  readonly closing: AbortSignal
}

/** A file's contents, as its node tells them. */
export interface FileContents {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** What keeping a chunk costs beside its bytes (its buffer, its key, its place in the cache), roughly measured. */
const CHUNK_OVERHEAD_BYTES = 1024

/** Ranges of blobs, fetched and kept chunk by chunk. */
export class FileReader {
  readonly #options: FileReaderOptions
  readonly #lists: CachedFetch<ChunkList>
  readonly #chunks: CachedFetch<Uint8Array>
  /** What one of `fetchesMax` fetches may hold; a larger chunk takes the place of several. */
  readonly #slotBytes: number
  #prefetching = 0
  readonly #distance = new SourceDistance()

  constructor(options: FileReaderOptions) {
    const { chunkListsMax, chunkCacheBytes, fetchBytesMax, fetchesMax, slots, stats } = options
    this.#options = options
    this.#slotBytes = Math.floor(fetchBytesMax / fetchesMax)
    this.#lists = new CachedFetch({
      weightMax: chunkListsMax,
      weigh: (list) => list.length,
      bytes: () => 0,
      slots,
      stats: stats.chunkLists,
    })
    this.#chunks = new CachedFetch({
      weightMax: chunkCacheBytes,
      weigh: (chunk) => chunk.length + CHUNK_OVERHEAD_BYTES,
      bytes: (chunk) => chunk.length,
      slots: new Semaphore(this.#slotBytes * fetchesMax),
      stats: stats.chunks,
    })
  }

  /** Bytes of the chunks kept. */
  get chunkBytes(): number {
    return this.#chunks.weight
  }

  /** Chunks that the lists kept tell of. */
  get listedChunks(): number {
    return this.#lists.weight
  }

  /** The bytes of `range`, which lies inside the file and is not empty, in pieces of the chunks kept. */
  read(file: FileContents, range: Range, call: Call | undefined): Soon<readonly Uint8Array[]> {
    return whenReady(this.#list(file, call), (list) => this.#readChunks(file, list, range, call))
  }

  /** Writes down the chunks of `range`, which lies inside the file; false when they are not known, or there is no plan. */
  plan(file: FileContents, range: Range, plan: ReadPlan): boolean {
    plan.begin(file.digest.bytes)
    if (plan.addKnown(file, range.start, range.end)) return true
    if (file.size <= UNDIVIDED_BYTES_MAX)
      return plan.add(file.digest.bytes, file.size, 0, range.start, range.end)
    const list = this.#lists.take(contentKey(file)) ?? this.#packedList(file, plan)
    if (!list) return false
    const last = list.indexAt(range.end - 1)
    for (let index = list.indexAt(range.start); index <= last; index++) {
      const start = list.start(index)
      const size = list.start(index + 1) - start
      const from = Math.max(0, range.start - start)
      const to = Math.min(size, range.end - start)
      if (!plan.add(list.digestBytes(index), size, start, from, to)) return false
    }
    return true
  }

  /** Of a blob that is one chunk: found on the spot, where asking for a list takes a dozen promises. */
  #packedList(file: FileContents, plan: ReadPlan): ChunkList | undefined {
    if (!plan.isPacked(file)) return undefined
    const list = new ChunkList([file])
    this.#lists.keep(contentKey(file), list)
    return list
  }

  /** Has the list of chunks asked for; `undefined` when it is known. A failure is met again by whoever reads. */
  list(file: FileContents, call: Call): Promise<void> | undefined {
    const list = this.#list(file, call)
    const nothing = () => {}
    return list instanceof Promise ? list.then(nothing, nothing) : undefined
  }

  /**
   * Starts to fetch the chunks of `range` unless that would take more than half of the slots: reads come
   * first. Failures are nobody's concern here: whoever reads the chunk meets them again. Returns up to where it did.
   */
  prefetch(file: FileContents, range: Range): number {
    const list = this.#knownList(file)
    if (!list) return range.start
    const last = list.indexAt(range.end - 1)
    for (let index = list.indexAt(range.start); index <= last; index++) {
      if (this.#prefetching >= this.#options.fetchesMax / 2) return Math.max(range.start, list.start(index))
      this.#prefetchChunk(this.#wanted(file, list, index))
    }
    return range.end
  }

  /** Chunks are looked for on this machine first. */
  get isLocal(): boolean {
    return this.#options.localChunks !== undefined
  }

  get isFar(): boolean {
    return this.#distance.isFar
  }

  /** As `prefetch`, also for a file whose chunks are only being asked for. */
  prefetchWhenListed(file: FileContents, range: Range): void {
    if (this.#knownList(file)) {
      this.prefetch(file, range)
      return
    }
    const call = withDeadline({ signal: this.#options.closing }, MOUNT_CALL_MS_MAX, 'read-ahead')
    Promise.resolve(this.#list(file, call))
      .then(() => this.prefetch(file, range))
      .catch((error) => this.#options.logger.debug({ err: error }, 'read-ahead failed'))
      .finally(() => call[Symbol.dispose]())
  }

  /** Fetches the chunks of `range`, and the list of them. Throws what the first of them that fails does. */
  async fetchAhead(file: FileContents, range: Range, call: Call): Promise<void> {
    const list = await this.#list(file, call)
    const { stats } = this.#options
    const first = list.indexAt(range.start)
    const indices = Array.from({ length: list.indexAt(range.end - 1) + 1 - first }, (_, i) => first + i)
    const fetchOne = async (index: number, inner: Call) => {
      const wanted = this.#wanted(file, list, index)
      if (!this.#chunks.peek(wanted.key)) await this.#chunks.prefetch(wanted, stats.readAhead, inner)
    }
    for await (const _ of mapConcurrent(indices, CHUNK_READS_MAX, fetchOne, call));
  }

  #prefetchChunk(wanted: Wanted<Uint8Array>): void {
    const { closing, stats, logger } = this.#options
    if (closing.aborted || this.#chunks.peek(wanted.key)) return
    const call = withDeadline({ signal: closing }, MOUNT_CALL_MS_MAX, 'read-ahead')
    const done = () => {
      this.#prefetching--
      call[Symbol.dispose]()
    }
    this.#prefetching++
    this.#chunks
      .prefetch(wanted, stats.readAhead, call)
      .catch((error) => logger.debug({ err: error }, 'read-ahead failed'))
      .finally(done)
  }

  #readChunks(
    file: FileContents,
    list: ChunkList,
    range: Range,
    call: Call | undefined,
  ): Soon<readonly Uint8Array[]> {
    const first = list.indexAt(range.start)
    const last = list.indexAt(range.end - 1)
    const pieces: Uint8Array[] = []
    for (let index = first; index <= last; index++) {
      const chunk = this.#takeChunk(list, index)
      if (!chunk) return this.#collect(file, list, range, { pieces, index, last }, call)
      pieces.push(cut(chunk, list, index, range))
    }
    return pieces
  }

  /** In memory, or as quick to read as if it were. */
  #takeChunk(list: ChunkList, index: number): Uint8Array | undefined {
    const { localChunks } = this.#options
    const key = chunkKey(list, index)
    if (!localChunks) return this.#chunks.take(key)
    return this.#chunks.getNow(key, () => localChunks.readVerifiedNow(list.chunk(index)))
  }

  /** Goes on from the first chunk that must be waited for. */
  async #collect(
    file: FileContents,
    list: ChunkList,
    range: Range,
    { pieces, index: from, last }: { pieces: Uint8Array[]; index: number; last: number },
    call: Call | undefined,
  ): Promise<readonly Uint8Array[]> {
    const rest = Array.from({ length: last + 1 - from }, (_, i) => from + i)
    const fetchPiece = async (index: number, pieceCall: Call) =>
      cut(await this.#chunks.get(this.#wanted(file, list, index), pieceCall), list, index, range)
    for await (const piece of mapConcurrent(rest, this.#options.fetchesMax, fetchPiece, call))
      pieces.push(piece)
    return pieces
  }

  #list(file: FileContents, call: Call | undefined): Soon<ChunkList> {
    const known = undivided(file)
    if (known) return known
    if (this.#isQuickAsWhole(file)) this.#lists.keep(contentKey(file), new ChunkList([file]))
    return this.#lists.get(this.#wantedList(file), call)
  }

  /** Asking for its chunks, for one of them, and for the others would take three round trips. */
  #isQuickAsWhole({ size }: FileContents): boolean {
    return (
      size <= MOUNT_WHOLE_BYTES_MAX && this.#distance.isFar && size <= 2 * this.#distance.bytesPerRoundTrip
    )
  }

  #knownList(file: FileContents): ChunkList | undefined {
    return undivided(file) ?? this.#lists.peek(contentKey(file))
  }

  #wantedList(file: FileContents): Wanted<ChunkList> {
    return { key: contentKey(file), fetch: (call) => this.#fetchList(file, call) }
  }

  async #fetchList(file: FileContents, call: Call): Promise<ChunkList> {
    const { blobs, source } = this.#options
    const what = `blob ${file.digest}`
    const chunks = await blobs.chunks(file.digest, call).catch((error: unknown) => {
      throw sourceFailure(`chunks of ${what}`, source, error)
    })
    if (!chunks) throw missing(what, source)
    if (chunks.length === 0) return new ChunkList([file])
    if (!chunks.every(({ size }) => Number.isSafeInteger(size) && size > 0))
      throw new StoreError('corrupt', `${what}, from ${source}: a chunk of its list has no valid size`)
    const list = new ChunkList(chunks)
    if (list.size !== file.size)
      throw new StoreError(
        'corrupt',
        `${what}, from ${source}: its chunks add up to ${list.size} bytes, its directory records ${file.size}`,
      )
    return list
  }

  #wanted(file: FileContents, list: ChunkList, index: number): Wanted<Uint8Array> {
    return {
      key: chunkKey(list, index),
      weight: Math.max(list.chunk(index).size, this.#slotBytes),
      fetch: (call) => this.#fetchChunk(file, list, index, call),
    }
  }

  async #fetchChunk(file: FileContents, list: ChunkList, index: number, call: Call): Promise<Uint8Array> {
    const { blobs, localChunks, source } = this.#options
    const { digest, size } = list.chunk(index)
    const what = list.length === 1 ? `blob ${file.digest}` : `chunk ${digest} of blob ${file.digest}`
    if (size > UNCHUNKED_BLOB_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `${what}, from ${source}: ${size} bytes in one piece, at most ${UNCHUNKED_BLOB_BYTES_MAX} can be read: import it into a store that divides blobs into chunks`,
      )
    const here = await localChunks?.readVerified({ digest, size })
    if (here) return here
    const began = this.#options.now()
    try {
      const stream = await blobs.openRead(digest, call)
      if (stream) {
        const chunk = await collectExactly(stream, size)
        this.#distance.fetched(size, this.#options.now() - began)
        return chunk
      }
    } catch (error) {
      throw sourceFailure(what, source, error)
    }
    // Nothing proves a list but its chunks: the next read asks for it again.
    this.#lists.drop(contentKey(file))
    throw missing(what, source)
  }
}

function undivided(file: FileContents): ChunkList | undefined {
  return file.size <= UNDIVIDED_BYTES_MAX ? new ChunkList([file]) : undefined
}

/** The size belongs to the key: who lies about the size of a blob or chunk must not fail the others' reads. */
function contentKey({ digest, size }: FileContents): string {
  return `${digest.key}${size}`
}

function chunkKey(list: ChunkList, index: number): string {
  return contentKey(list.chunk(index))
}

/** The part of a chunk that lies inside the range; not a copy. */
function cut(chunk: Uint8Array, list: ChunkList, index: number, range: Range): Uint8Array {
  const start = list.start(index)
  return chunk.subarray(Math.max(0, range.start - start), Math.min(chunk.length, range.end - start))
}
