import { type Digest, EMPTY_DIGEST } from '../../model/castore/digest.ts'
import { Chunker } from '../../model/castore/fastcdc.ts'
import { BufferRooms, countedBuffer, GradedRooms } from '../../support/buffer-rooms.ts'
import { concatBytes } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import {
  BLOB_READS_MAX,
  CHUNK_BYTES_AVG,
  CHUNK_BYTES_MAX,
  CHUNK_END_BYTES,
  CHUNK_READS_MAX,
  CHUNK_READS_TAKEN,
  CHUNK_ROOM_BYTES,
  CHUNK_ROOMS_MAX,
  LOCAL_CHUNKS_BYTES,
  SMALL_BLOB_WRITES_MAX,
  ZSTD_DECOMPRESS_INLINE_BYTES_MAX,
} from '../../support/limits.ts'
import { type NativeCodec, nativeCodec } from '../../support/native-codec.ts'
import { decompress } from '../../support/zstd.ts'
import type { HasBelow, ObjectStore } from '../objects/interface.ts'
import { BlobBatches } from './blob-batches.ts'
import { checkChunkList, decodeChunkList, eachOfChunkList } from './chunk-list.ts'
import type { LocalChunkSource } from './chunk-places.ts'
import type {
  BlobService,
  BlobStream,
  BlobWriter,
  ChunkMeta,
  PlacedBlob,
  ReadChunk,
  ReadInto,
  SmallWrites,
} from './interface.ts'
import { ListsInUse } from './lists-in-use.ts'
import { ChunkSteps, type LocalChunks } from './local-chunks.ts'
import { BLOBS_PREFIX, blobKey, CHUNKS_PREFIX, chunkKey } from './object-keys.ts'
import { type ChunkStore, ObjectStoreBlobWriter } from './object-store-writer.ts'
import { PortionPool } from './portions.ts'
import { ReadAheadShare } from './read-ahead-share.ts'
import { SmallBlobWriter } from './small-blob-writer.ts'

/**
 * Blobs as chunks in a bucket, in the layout of spec §3.3:
 *
 *     chunks/b3/<4 hex>/<digest>   one zstd frame with the bytes of a chunk
 *     blobs/b3/<4 hex>/<digest>    the chunk list; empty for blobs of one chunk or none
 *
 * The `blobs/` object is written last: what is listed there is complete. `averageChunkBytes`: a power of two.
 * `local`: a faster way to the chunks, if there is one.
 */
export function objectStoreBlobService(
  objects: ObjectStore,
  averageChunkBytes = CHUNK_BYTES_AVG,
  local?: LocalChunks,
): BlobService {
  return new ObjectStoreBlobService(objects, averageChunkBytes, local)
}

/** What one store's streams read into: portions while they are few, single chunks when they are many. */
const ROOM_LIMITS = { busyMax: CHUNK_ROOMS_MAX, idleMax: 0 }
/** They fit most chunks, compressed or not; given up when none was read for a moment. */
const FRAME_ROOMS = { bytes: 2 * CHUNK_BYTES_AVG, busyMax: BLOB_READS_MAX, idleMax: 0 }

class ObjectStoreBlobService implements BlobService {
  readonly #objects: ObjectStore
  readonly #chunkStore: ChunkStore
  readonly #local: LocalChunks | undefined
  readonly #readAhead = new ReadAheadShare()
  /** Where chunks lie as they come, until they are decompressed. */
  readonly #frames = new BufferRooms(FRAME_ROOMS)
  readonly #lists = new ListsInUse()
  readonly #rooms = new GradedRooms([CHUNK_END_BYTES, ...CHUNK_ROOM_BYTES, LOCAL_CHUNKS_BYTES], ROOM_LIMITS)
  readonly hasMany: BlobService['hasMany']
  readonly readInto: ReadInto | undefined
  readonly readChunk: ReadChunk | undefined
  readonly localChunks: LocalChunkSource | undefined
  readonly smallWrites: SmallWrites | undefined
  readonly digestsWrites = true

  constructor(objects: ObjectStore, averageChunkBytes: number, local: LocalChunks | undefined) {
    this.#objects = objects
    this.#local = local
    const batches = objects.putMany && new BlobBatches(objects.putMany, objects.showsTogether)
    const chunker = new Chunker(averageChunkBytes)
    this.#chunkStore = { objects, batches, chunker, portions: new PortionPool(chunker.max) }
    this.localChunks = local?.source
    this.smallWrites = batches && {
      atOnceMax: SMALL_BLOB_WRITES_MAX,
      bytesMax: chunker.min,
      put: (digest, contents, call) => batches.storeBlob(digest, contents, call),
    }
    const { hasBelow } = objects
    this.hasMany = hasBelow && ((digests, call) => this.#hasMany(hasBelow, digests, call))
    // Of this machine they are had in a better way.
    const codec = local ? undefined : nativeCodec
    this.readChunk = codec && ((chunk, call) => this.#readChunk(codec, chunk, call))
    this.readInto = local && ((target, wanted, call) => this.#readInto(local, target, wanted, call))
  }

  async has(digest: Digest, call?: Call): Promise<boolean> {
    if ((await this.#objects.head(blobKey(digest), call)) !== undefined) return true
    return (await this.#objects.head(chunkKey(digest), call)) !== undefined
  }

  /** As `has`: those that have no list may be chunks. */
  async #hasMany(hasBelow: HasBelow, digests: readonly Digest[], call?: Call): Promise<boolean[]> {
    const listed = await hasBelow(BLOBS_PREFIX, joined(digests), call)
    const others = digests.filter((_, i) => listed[i] === 0)
    const chunks = others.length > 0 ? await hasBelow(CHUNKS_PREFIX, joined(others), call) : listed
    let other = 0
    return digests.map((_, i) => listed[i] === 1 || chunks[other++] === 1)
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    const list = await this.#chunkList(digest, call)
    if (list) return list
    return (await this.#objects.head(chunkKey(digest), call)) === undefined ? undefined : []
  }

  /** The chunk object first: most blobs are one chunk, and the digest of a chunk reads like that of a blob. */
  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    throwIfAborted(call?.signal)
    if (digest.equals(EMPTY_DIGEST)) return pieces([])
    const whole = await this.#chunk(digest, CHUNK_BYTES_MAX, call)
    if (whole) return pieces([whole], call)
    const list = await this.#encodedChunkList(digest, call)
    if (!list) return undefined
    const checked = this.#lists.shared(digest, list, () => {
      if (this.#decode(digest, list).length === 0) throw this.#missingChunk(digest, digest)
    })
    return this.#listed(digest, checked, call)
  }

  /** `list`: encoded, with something in it, and checked. */
  #listed(blob: Digest, list: Uint8Array, call?: Call): BlobStream {
    const share = this.#readAhead
    const read = async (metas: readonly ChunkMeta[], inner: Call) => {
      const chunks = await this.#listedChunks(blob, metas, inner)
      return share.isCrowded ? chunks.flatMap((chunk) => this.#endApart(chunk)) : chunks
    }
    const portions = mapConcurrent(this.#portions(list), () => share.width, read, call)
    return {
      [Symbol.asyncIterator]: () => share.stream(portions),
      giveBack: (piece) => this.#rooms.giveBack(piece),
    }
  }

  /** Blobs of one chunk, which most are, in one trip, and those of several in another. */
  async #readInto(
    local: LocalChunks,
    target: Uint8Array,
    wanted: readonly PlacedBlob[],
    call?: Call,
  ): Promise<PlacedBlob[]> {
    throwIfAborted(call?.signal)
    const steps = new ChunkSteps(wanted.length)
    for (const { digest, offset, size } of wanted) steps.readAndCompare(digest, offset, size)
    await local.run(steps, target)
    const left = wanted.filter((_, i) => !steps.isDone(i))
    return left.length === 0 ? left : await this.#readListedInto(local, target, left, call)
  }

  async #readListedInto(
    local: LocalChunks,
    target: Uint8Array,
    wanted: readonly PlacedBlob[],
    call?: Call,
  ): Promise<PlacedBlob[]> {
    const lists: (readonly ChunkMeta[])[] = []
    const listOf = async ({ digest, size }: PlacedBlob, inner: Call) => {
      const list = (await this.#chunkList(digest, inner)) ?? []
      return sizeOf(list) === size ? list : []
    }
    for await (const list of mapConcurrent(wanted, CHUNK_READS_MAX, listOf, call)) lists.push(list)
    const steps = new ChunkSteps(lists.reduce((sum, list) => sum + list.length + 1, 0))
    const comparisons = wanted.map(({ digest, offset, size }, i) => {
      let end = offset
      for (const chunk of lists[i]!) {
        steps.read(chunk.digest, end, chunk.size)
        end += chunk.size
      }
      return end === offset ? undefined : steps.compare(digest, offset, size)
    })
    await local.run(steps, target)
    return wanted.filter((_, i) => comparisons[i] === undefined || !steps.isDone(comparisons[i]))
  }

  /** What is read in one go: a trip to the thread pool that does much costs as much as one that does little. */
  *#portions(list: Uint8Array): Generator<ChunkMeta[]> {
    let portion: ChunkMeta[] = []
    let bytes = 0
    let begun = 0
    for (const meta of eachOfChunkList(list)) {
      const isFull = this.#isByChunk(begun) || bytes + meta.size > LOCAL_CHUNKS_BYTES
      if (portion.length > 0 && isFull) {
        yield portion
        begun++
        portion = []
        bytes = 0
      }
      portion.push(meta)
      bytes += meta.size
    }
    if (portion.length > 0) yield portion
  }

  /**
   * A chunk with its end in memory of its own: who verifies passes on everything but the last piece, and in a crowd this piece is
   * to be no whole chunk, and keep none in memory.
   */
  #endApart(chunk: Uint8Array): Uint8Array[] {
    const length = chunk.length - CHUNK_END_BYTES
    if (length < CHUNK_END_BYTES) return [chunk]
    const end = this.#rooms.take(CHUNK_END_BYTES)
    end.set(chunk.subarray(length))
    return [chunk.subarray(0, length), end]
  }

  /** Among others a stream begins so, since those that come with it make a crowd, and its reader may never take more. */
  #isByChunk(begun: number): boolean {
    const { isCrowded, isBusy, width } = this.#readAhead
    return !this.#local || isCrowded || (isBusy && begun < width + CHUNK_READS_TAKEN)
  }

  openWrite(call?: Call): BlobWriter {
    const { batches, chunker } = this.#chunkStore
    const open = () => new ObjectStoreBlobWriter(this.#chunkStore, call)
    // No chunker cuts what is below its minimum.
    return batches ? new SmallBlobWriter(batches, chunker.min, open, call) : open()
  }

  /** What the `blobs/` object says; `undefined` without one. */
  async #chunkList(digest: Digest, call?: Call): Promise<ChunkMeta[] | undefined> {
    const value = await this.#encodedChunkList(digest, call)
    return value && this.#decode(digest, value)
  }

  async #encodedChunkList(digest: Digest, call?: Call): Promise<Uint8Array | undefined> {
    return await this.#objects.get(blobKey(digest), call)
  }

  /** And checks it. */
  #decode(digest: Digest, value: Uint8Array): ChunkMeta[] {
    const list = this.#decodeUnchecked(digest, value)
    checkChunkList(digest, list, this.#objects.name)
    return list
  }

  #decodeUnchecked(digest: Digest, value: Uint8Array): ChunkMeta[] {
    try {
      return decodeChunkList(value)
    } catch (error) {
      const message = `the chunk list of blob ${digest} in ${this.#objects.name} cannot be read: ${(error as Error).message}`
      throw new StoreError('corrupt', message, { cause: error })
    }
  }

  async #chunk(digest: Digest, maxBytes: number, call?: Call): Promise<Uint8Array | undefined> {
    const what = `chunk ${digest} in ${this.#objects.name}`
    return await this.#useFrame(digest, (frame) => decompress(frame, maxBytes, what), call)
  }

  /** Fetching it takes this thread less than decompressing and hashing it would; what is small is done on the spot. */
  async #readChunk(
    codec: NativeCodec,
    { digest, size }: ChunkMeta,
    call?: Call,
  ): Promise<Uint8Array | undefined> {
    if (size <= ZSTD_DECOMPRESS_INLINE_BYTES_MAX || size > CHUNK_BYTES_MAX) return undefined
    const unpack = async (frame: Uint8Array) => {
      const chunk = countedBuffer(size)
      return (await codec.unpackChunk(frame, digest.bytes, chunk)) === 1 ? chunk : undefined
    }
    return await this.#useFrame(digest, unpack, call)
  }

  /** What `use` makes of a chunk as it is stored, whose memory is for the next one after that; `undefined`: there is none. */
  async #useFrame<T>(
    digest: Digest,
    use: (frame: Uint8Array) => T | Promise<T>,
    call?: Call,
  ): Promise<T | undefined> {
    const rooms = this.#frames
    const frame = await this.#objects.get(chunkKey(digest), { ...call, rooms })
    if (!frame) return undefined
    try {
      return await use(frame)
    } finally {
      rooms.giveBack(frame)
    }
  }

  /** In one piece where that can be, in a room. */
  async #listedChunks(blob: Digest, metas: readonly ChunkMeta[], call: Call): Promise<Uint8Array[]> {
    const found = (await this.#local?.read(metas, this.#rooms)) ?? []
    const [first] = found
    if (first && !found.includes(undefined))
      return [new Uint8Array(first.buffer, first.byteOffset, sizeOf(metas))]
    // None of those that were found: a room is given back with any part of it.
    const chunks: Uint8Array[] = []
    for (const meta of metas) chunks.push(await this.#listedChunk(blob, meta, call))
    return chunks
  }

  async #listedChunk(blob: Digest, meta: ChunkMeta, call: Call): Promise<Uint8Array> {
    const chunk = await this.#chunk(meta.digest, Math.min(meta.size, CHUNK_BYTES_MAX), call)
    if (!chunk) throw this.#missingChunk(blob, meta.digest)
    if (chunk.length === meta.size) return chunk
    throw new StoreError(
      'corrupt',
      `chunk ${meta.digest} in ${this.#objects.name} has ${chunk.length} bytes, but ${meta.size} in blob ${blob}`,
    )
  }

  #missingChunk(blob: Digest, chunk: Digest): StoreError {
    const what = `blob ${blob} in ${this.#objects.name} is incomplete: the object ${chunkKey(chunk)} is missing`
    return new StoreError('corrupt', what)
  }
}

function joined(digests: readonly Digest[]): Uint8Array {
  return concatBytes(digests.map(({ bytes }) => bytes))
}

function sizeOf(list: readonly ChunkMeta[]): number {
  return list.reduce((sum, { size }) => sum + size, 0)
}

async function* pieces(list: readonly Uint8Array[], call?: Call): AsyncGenerator<Uint8Array> {
  for (const piece of list) {
    throwIfAborted(call?.signal)
    yield piece
  }
}
