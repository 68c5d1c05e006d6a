import { type Digest, EMPTY_DIGEST } from '../model/castore/digest.ts'
import type { FileNode } from '../model/castore/node.ts'
import type { BlobService, BlobStream, ChunkMeta } from '../services/blobs/interface.ts'
import { readBlob } from '../services/blobs/read-blob.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent, Semaphore, SingleFlight } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import {
  CHUNK_READS_MAX,
  COPY_BLOB_BUDGET_BYTES,
  COPY_BLOB_BYTES_MAX,
  COPY_BLOB_BYTES_MIN,
  SMALL_BLOB_BYTES_MAX,
} from '../support/limits.ts'

export interface BlobCopyProgress {
  /** Bytes came from the source. */
  moved(bytes: number): void
  /** Bytes did not have to: the destination has them. */
  present(bytes: number): void
}

export interface BlobCopyOptions {
  /**
   * Whether chunks that the destination has are read there, so that of a new version of a large blob only what is
   * new comes from the source. Worth it where the destination is nearer than the source.
   */
  readonly reuseChunks: boolean
  readonly progress?: BlobCopyProgress | undefined
}

/** Copies blobs that the destination lacks, each once and a bounded number at a time, over all trees of a copy. */
export class BlobCopier {
  readonly #from: BlobService
  readonly #to: BlobService
  readonly #options: BlobCopyOptions
  readonly #flights = new SingleFlight<string, void>()
  readonly #budget = new Semaphore(COPY_BLOB_BUDGET_BYTES)

  constructor(from: BlobService, to: BlobService, options: BlobCopyOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
  }

  /** Throws `corrupt` when the source does not have what its directories refer to, or has something else. */
  copy(file: FileNode, call?: Call): Promise<void> {
    return this.#flights.run(file.digest.key, (flight) => this.#copy(file, flight), call)
  }

  async #copy({ digest, size }: FileNode, call: Call): Promise<void> {
    const weight = Math.max(COPY_BLOB_BYTES_MIN, Math.min(Number(size), COPY_BLOB_BYTES_MAX))
    const release = await this.#budget.acquire(weight, call.signal)
    try {
      if (await this.#to.has(digest, call)) this.#options.progress?.present(Number(size))
      else await this.#write(digest, await this.#open(digest, size, call), call)
    } finally {
      release()
    }
  }

  async #write(digest: Digest, contents: BlobStream, call: Call): Promise<void> {
    const writer = this.#to.openWrite(call)
    try {
      for await (const piece of contents) await writer.write(piece)
      const stored = await writer.close()
      if (!stored.equals(digest))
        throw new StoreError('corrupt', `blob ${digest}: the source sent the blob ${stored} instead`)
    } catch (error) {
      await writer.abort()
      throw error
    }
  }

  async #open(digest: Digest, size: bigint, call: Call): Promise<BlobStream> {
    // Not every store keeps the blob that needs no keeping.
    if (digest.equals(EMPTY_DIGEST)) return nothing()
    if (this.#options.reuseChunks && size > BigInt(SMALL_BLOB_BYTES_MAX)) {
      const chunks = await this.#from.chunks(digest, call)
      if (chunks && chunks.length > 1) return this.#readChunks(chunks, call)
    }
    return this.#counted(await this.#readSource(digest, call))
  }

  #readChunks(chunks: readonly ChunkMeta[], call: Call): BlobStream {
    return mapConcurrent(
      chunks,
      CHUNK_READS_MAX,
      async ({ digest, size }, own) => {
        const near = await readBlob(this.#to, digest, size, own)
        if (near) this.#options.progress?.present(size)
        return near ?? (await this.#readChunk(digest, size, own))
      },
      call,
    )
  }

  async #readChunk(digest: Digest, size: number, call: Call): Promise<Uint8Array> {
    const chunk = await readBlob(this.#from, digest, size, call)
    if (!chunk) throw missing(digest)
    this.#options.progress?.moved(size)
    return chunk
  }

  async #readSource(digest: Digest, call: Call): Promise<BlobStream> {
    const stream = await this.#from.openRead(digest, call)
    if (!stream) throw missing(digest)
    return stream
  }

  async *#counted(stream: BlobStream): BlobStream {
    for await (const piece of stream) {
      this.#options.progress?.moved(piece.length)
      yield piece
    }
  }
}

async function* nothing(): BlobStream {}

function missing(digest: Digest): StoreError {
  return new StoreError('corrupt', `blob ${digest} is missing from the source`)
}
