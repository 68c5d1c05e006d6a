import { Digest } from '../model/castore/digest.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { Call } from '../support/call.ts'
import { Semaphore, SingleFlight } from '../support/concurrency.ts'
import { SMALL_BLOB_BUDGET_BYTES, UPLOAD_UNASKED_BYTES_MAX } from '../support/limits.ts'

/** Bytes of blobs that all imports of this process hold in memory (spec §6.2). */
const blobBudget = new Semaphore(SMALL_BLOB_BUDGET_BYTES)

/**
 * Uploads blobs that are held in memory, each content once: blobs that exist are not sent (but for tiny
 * ones), and equal contents that arrive at the same time share one upload.
 */
export class BlobUploader {
  readonly #blobs: BlobService
  readonly #uploads = new SingleFlight<string, void>()

  constructor(blobs: BlobService) {
    this.#blobs = blobs
  }

  /** The service itself, for blobs that are too large to be held. */
  get blobs(): BlobService {
    return this.#blobs
  }

  /** `bytes` of the budget, if they are to be had at once; call the result to give them back. */
  tryReserve(bytes: number): (() => void) | undefined {
    return blobBudget.tryAcquire(bytes)
  }

  /** Waits for `bytes` of the budget; call the result to give them back. */
  reserve(bytes: number, call?: Call): Promise<() => void> {
    return blobBudget.acquire(bytes, call?.signal)
  }

  /** Stores `contents` unless it is there already. */
  async upload(contents: Uint8Array, call?: Call): Promise<Digest> {
    const { digest, stored } = this.start(contents, call)
    await stored
    return digest
  }

  /** The same for who needs the digest before the contents are stored. Nobody may change them any more. */
  start(contents: Uint8Array, call?: Call): { readonly digest: Digest; readonly stored: Promise<void> } {
    const digest = Digest.of(contents)
    // A service that stores in batches joins equal ones, and asks whether they are there, at less expense.
    const { smallWrites } = this.#blobs
    if (smallWrites) {
      const isSmall = contents.length <= smallWrites.bytesMax
      const stored = isSmall ? smallWrites.put(digest, contents, call) : this.#write(contents, call)
      return { digest, stored }
    }
    const stored = this.#uploads.run(digest.key, (flight) => this.#store(digest, contents, flight), call)
    return { digest, stored }
  }

  async #store(digest: Digest, contents: Uint8Array, call: Call): Promise<void> {
    const isTiny = contents.length <= UPLOAD_UNASKED_BYTES_MAX
    if (!isTiny && (await this.#blobs.has(digest, call))) return
    await this.#write(contents, call)
  }

  async #write(contents: Uint8Array, call?: Call): Promise<void> {
    const writer = this.#blobs.openWrite(call)
    try {
      if (contents.length > 0) await writer.write(contents)
      await writer.close()
    } catch (error) {
      await writer.abort()
      throw error
    }
  }
}
