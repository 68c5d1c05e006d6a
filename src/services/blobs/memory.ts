import type { Digest } from '../../model/castore/digest.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { READ_BUFFER_BYTES } from '../../support/limits.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import { PieceDigester } from './piece-digester.ts'

/** In the pieces in which they came. */
type StoredBlob = readonly Uint8Array[]

/** Blobs in the memory of this process, gone when it ends. Never chunked. */
export function memoryBlobService(): BlobService {
  return new MemoryBlobService()
}

class MemoryBlobService implements BlobService {
  readonly #blobs = new Map<string, StoredBlob>()

  async has(digest: Digest, call?: Call): Promise<boolean> {
    throwIfAborted(call?.signal)
    return this.#blobs.has(digest.key)
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    throwIfAborted(call?.signal)
    return this.#blobs.has(digest.key) ? [] : undefined
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    throwIfAborted(call?.signal)
    const blob = this.#blobs.get(digest.key)
    return blob && pieces(blob, call)
  }

  openWrite(call?: Call): BlobWriter {
    return new MemoryBlobWriter(this.#blobs, call)
  }
}

async function* pieces(blob: StoredBlob, call?: Call): AsyncGenerator<Uint8Array> {
  for (const piece of blob)
    for (let start = 0; start < piece.length; start += READ_BUFFER_BYTES) {
      throwIfAborted(call?.signal)
      yield piece.slice(start, start + READ_BUFFER_BYTES)
    }
}

class MemoryBlobWriter implements BlobWriter {
  readonly #blobs: Map<string, StoredBlob>
  readonly #call: Call | undefined
  readonly #digester = new PieceDigester()
  #pieces: Uint8Array[] = []
  #aborted = false
  #digest: Digest | undefined

  constructor(blobs: Map<string, StoredBlob>, call?: Call) {
    this.#blobs = blobs
    this.#call = call
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#checkOpen()
    if (this.#digest) throw new StoreError('internal', 'write to a blob that was closed')
    // The caller may use its memory again later; and put together in the end, a blob would be in memory twice.
    const piece = Uint8Array.prototype.slice.call(bytes)
    this.#digester.update(piece)
    this.#pieces.push(piece)
  }

  async close(): Promise<Digest> {
    if (this.#digest) return this.#digest
    this.#checkOpen()
    this.#digest = this.#digester.digest()
    if (!this.#blobs.has(this.#digest.key)) this.#blobs.set(this.#digest.key, this.#pieces)
    this.#pieces = []
    return this.#digest
  }

  async abort(): Promise<void> {
    this.#aborted = true
    this.#pieces = []
  }

  #checkOpen(): void {
    throwIfAborted(this.#call?.signal)
    if (this.#aborted) throw new StoreError('internal', 'use of a blob writer after abort')
  }
}
