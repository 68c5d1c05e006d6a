import { Digest } from '../../model/castore/digest.ts'
import { concatBytes } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { BlobBatches } from './blob-batches.ts'
import type { BlobWriter } from './interface.ts'

/** Holds a blob until it is known to be small, and then stores it among others; a larger one is handed on. */
export class SmallBlobWriter implements BlobWriter {
  readonly #batches: BlobBatches
  readonly #bytesMax: number
  readonly #openLarge: () => BlobWriter
  readonly #call: Call | undefined
  #held: Uint8Array[] = []
  #heldBytes = 0
  #large: BlobWriter | undefined
  #closed: Promise<Digest> | undefined
  #isAborted = false

  /** `bytesMax`: up to there it is small. */
  constructor(batches: BlobBatches, bytesMax: number, openLarge: () => BlobWriter, call: Call | undefined) {
    this.#batches = batches
    this.#bytesMax = bytesMax
    this.#openLarge = openLarge
    this.#call = call
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#large ? this.#large.write(bytes) : this.#hold(bytes)
  }

  async #hold(bytes: Uint8Array): Promise<void> {
    if (this.#closed) throw new StoreError('internal', 'write to a blob that was closed')
    this.#check()
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    if (this.#heldBytes <= this.#bytesMax) return
    this.#large = this.#openLarge()
    const held = this.#held
    this.#held = []
    for (const piece of held) await this.#large.write(piece)
  }

  close(): Promise<Digest> {
    this.#closed ??= this.#large ? this.#large.close() : this.#finish()
    return this.#closed
  }

  async abort(): Promise<void> {
    this.#isAborted = true
    await this.#large?.abort()
  }

  async #finish(): Promise<Digest> {
    this.#check()
    const contents = this.#held.length === 1 ? this.#held[0]! : concatBytes(this.#held, this.#heldBytes)
    this.#held = []
    const digest = Digest.of(contents)
    await this.#batches.storeBlob(digest, contents, this.#call)
    return digest
  }

  #check(): void {
    if (this.#isAborted) throw new StoreError('cancelled', 'the blob was given up')
    throwIfAborted(this.#call?.signal)
  }
}
