import type { Digest } from '../model/castore/digest.ts'
import type { BlobService, BlobWriter } from '../services/blobs/interface.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import type { Call } from '../support/call.ts'
import { Semaphore } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { NAR_LARGE_UPLOADS_MAX, NAR_UPLOADS_MAX } from '../support/limits.ts'
import { BlobUploader } from './blob-uploader.ts'

/** The blobs of one NAR on their way, bounded by number and by the budget of bytes. */
export class NarUploads {
  readonly #uploader: BlobUploader
  readonly #controller: AbortController
  readonly #progress: IngestProgress | undefined
  readonly #places: Semaphore
  readonly #largePlaces = new Semaphore(NAR_LARGE_UPLOADS_MAX)
  #running = 0
  /** Called when nothing runs any more. */
  #ended: (() => void) | undefined
  /** Gives back what was reserved for the blob that is being read. */
  #release: (() => void) | undefined
  failure: StoreError | undefined

  constructor(blobs: BlobService, controller: AbortController, progress: IngestProgress | undefined) {
    this.#uploader = new BlobUploader(blobs)
    this.#places = new Semaphore(blobs.smallWrites?.atOnceMax ?? NAR_UPLOADS_MAX)
    this.#controller = controller
    this.#progress = progress
  }

  get #call(): Call {
    return { signal: this.#controller.signal }
  }

  /** Waits while many large ones are on their way to the disk. */
  async openWrite(): Promise<BlobWriter> {
    this.#release = await this.#largePlaces.acquire(1, this.#controller.signal)
    return this.#uploader.blobs.openWrite(this.#call)
  }

  /** Resolves when the blob that was written is stored, which `settle` waits for. */
  finish(writer: BlobWriter): Promise<Digest> {
    const release = this.#release
    this.#release = undefined
    const stored = writer.close().catch(async (error) => {
      await writer.abort()
      throw error
    })
    this.#track(stored, release)
    return stored
  }

  /** A promise only where there is something to wait for. */
  reserve(bytes: number): Promise<void> | undefined {
    const place = this.#places.tryAcquire()
    const memory = place && this.#uploader.tryReserve(bytes)
    if (!place || !memory) {
      place?.()
      return this.#waitFor(bytes)
    }
    this.#hold(place, memory)
    return undefined
  }

  async #waitFor(bytes: number): Promise<void> {
    const place = await this.#places.acquire(1, this.#controller.signal)
    this.#release = place
    this.#hold(place, await this.#uploader.reserve(bytes, this.#call))
  }

  #hold(place: () => void, memory: () => void): void {
    this.#release = () => {
      memory()
      place()
    }
  }

  /** Begins to store the blob that was reserved for. */
  start(contents: Uint8Array): Digest {
    const release = this.#release
    this.#release = undefined
    const { digest, stored } = this.#uploader.start(contents, this.#call)
    this.#track(stored, release)
    return digest
  }

  #track(stored: Promise<unknown>, release: (() => void) | undefined): void {
    this.#running++
    const end = () => {
      release?.()
      if (--this.#running === 0) this.#ended?.()
    }
    stored.then(
      () => {
        this.#progress?.file()
        end()
      },
      (error) => {
        this.failure ??= StoreError.from(error)
        this.#controller.abort(this.failure)
        end()
      },
    )
  }

  /** Throws the first failure, when nothing runs any more. */
  async settle(): Promise<void> {
    await this.#idle()
    if (this.failure) throw this.failure
  }

  async abandon(): Promise<void> {
    this.#release?.()
    await this.#idle()
  }

  async #idle(): Promise<void> {
    if (this.#running === 0) return
    await new Promise<void>((resolve) => {
      this.#ended = resolve
    })
  }
}
