/** What a NAR and a tar have in common when they become blobs: files arrive one after the other, in pieces, with their sizes. */
import type { Digest } from '../model/castore/digest.ts'
import type { Node } from '../model/castore/node.ts'
import type { BlobService, BlobWriter } from '../services/blobs/interface.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import type { Call } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { NAR_SHARED_BYTES, NAR_SHARED_FILE_BYTES_MAX, SMALL_BLOB_BYTES_MAX } from '../support/limits.ts'
import { NarUploads } from './nar-uploads.ts'

export interface ArchiveOptions extends Call {
  readonly progress?: IngestProgress | undefined
}

/** Runs `ingest`; when that or an upload fails nothing goes on behind the caller's back, and the first failure is thrown. */
export async function ingestArchive<T>(
  blobs: BlobService,
  { signal, progress }: ArchiveOptions,
  ingest: (files: ArchiveFiles, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const forward = () => controller.abort(signal?.reason)
  signal?.addEventListener('abort', forward, { once: true })
  if (signal?.aborted) forward()
  const uploads = new NarUploads(blobs, controller, progress)
  const files = new ArchiveFiles(uploads)
  try {
    return await ingest(files, controller.signal)
  } catch (error) {
    controller.abort(StoreError.from(error))
    await files.abandon()
    // An upload that failed aborts everything else, which then only says so.
    throw uploads.failure ?? error
  } finally {
    signal?.removeEventListener('abort', forward)
  }
}

/** Small files are gathered and uploaded side by side, large ones are streamed. */
export class ArchiveFiles {
  readonly #uploads: NarUploads
  #file: { readonly size: number; readonly executable: boolean } | undefined
  /** One of the two takes the contents of the file that is open. */
  #small: { readonly contents: Buffer; filled: number } | undefined
  #large: BlobWriter | undefined
  /** The memory of small files, and how much of it is taken. */
  #shared = Buffer.alloc(0)
  #sharedUsed = 0

  constructor(uploads: NarUploads) {
    this.#uploads = uploads
  }

  /** A promise only where there is something to wait for, here and in `write`. */
  begin(size: number, executable: boolean): Promise<void> | undefined {
    this.#file = { size, executable }
    if (size > SMALL_BLOB_BYTES_MAX) return this.#beginLarge()
    const begin = () => {
      this.#small = { contents: this.#memoryFor(size), filled: 0 }
    }
    const waiting = this.#uploads.reserve(size)
    if (waiting) return waiting.then(begin)
    begin()
    return undefined
  }

  async #beginLarge(): Promise<void> {
    this.#large = await this.#uploads.openWrite()
  }

  /** Small files share buffers: making one costs several times as much as filling it. */
  #memoryFor(size: number): Buffer {
    if (size > NAR_SHARED_FILE_BYTES_MAX) return Buffer.allocUnsafeSlow(size)
    if (this.#sharedUsed + size > this.#shared.length) {
      this.#shared = Buffer.allocUnsafeSlow(NAR_SHARED_BYTES)
      this.#sharedUsed = 0
    }
    this.#sharedUsed += size
    return this.#shared.subarray(this.#sharedUsed - size, this.#sharedUsed)
  }

  /** Of the file that was begun. The bytes must stay as they are. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (!this.#small) return this.#large!.write(bytes)
    this.#small.contents.set(bytes, this.#small.filled)
    this.#small.filled += bytes.length
    return undefined
  }

  /** After as many bytes as `begin` was told of. The node is to be shown to nobody before all is settled. */
  end(): Node | Promise<Node> {
    const { size, executable } = this.#file!
    const nodeOf = (digest: Digest): Node => ({ kind: 'file', digest, size: BigInt(size), executable })
    if (this.#small) {
      const { contents } = this.#small
      this.#small = undefined
      return nodeOf(this.#uploads.start(contents))
    }
    const large = this.#large!
    this.#large = undefined
    return this.#uploads.finish(large).then(nodeOf)
  }

  /** When every file that ended is stored. Throws the first failure. */
  async settle(): Promise<void> {
    await this.#uploads.settle()
  }

  async abandon(): Promise<void> {
    await this.#large?.abort()
    await this.#uploads.abandon()
  }
}
