/**
 * Puts messages together out of the pieces in which HTTP/2 delivers them, in place of what grpc-js has for it. That
 * one keeps all pieces of a message and joins them when the last is there; copying each as it comes lets go of it at
 * once, which halves what receiving a blob costs. And this one names the limit that a message is above.
 */
import { createRequire } from 'node:module'
import { StoreError } from '../support/errors.ts'
import { GRPC_FRAME_PREALLOCATED_BYTES_MAX } from '../support/limits.ts'

const HEAD_BYTES = 5
const MODULE = '@grpc/grpc-js/build/src/stream-decoder'

interface ReplacedDecoder {
  /** Bytes; -1 for no limit. */
  readonly maxReadMessageLength: number
  frames?: FrameDecoder
}

/** Makes every connection of grpc-js in this process, client's and server's, use `FrameDecoder`. */
export function replaceFrameDecoder(): void {
  const { StreamDecoder } = createRequire(import.meta.url)(MODULE)
  if (typeof StreamDecoder?.prototype.write !== 'function' || new StreamDecoder(7).maxReadMessageLength !== 7)
    throw new StoreError('internal', 'this version of @grpc/grpc-js hides its decoder of frames')
  StreamDecoder.prototype.write = function write(this: ReplacedDecoder, data: Buffer): Buffer[] {
    this.frames ??= new FrameDecoder(this.maxReadMessageLength)
    return this.frames.push(data)
  }
}

/** Messages with their heads of five bytes, as grpc-js wants them. */
export class FrameDecoder {
  readonly #bytesMax: number
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headBytes = 0
  #message: Buffer | undefined
  #filled = 0

  /** `bytesMax`: of one message; -1 for no limit. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** The messages that these bytes complete. Throws an Error, for grpc-js to say RESOURCE_EXHAUSTED with. */
  push(data: Buffer): Buffer[] {
    const complete: Buffer[] = []
    let offset = 0
    while (offset < data.length) {
      if (!this.#message) offset += this.#takeHead(data, offset)
      if (this.#message) offset += this.#takeBody(data, offset)
      if (!this.#isComplete()) continue
      complete.push(this.#message!)
      this.#message = undefined
      this.#headBytes = 0
    }
    return complete
  }

  #isComplete(): boolean {
    return this.#message !== undefined && this.#filled === this.#size
  }

  get #size(): number {
    return HEAD_BYTES + this.#head.readUInt32BE(1)
  }

  #takeHead(data: Buffer, offset: number): number {
    const taken = data.copy(this.#head, this.#headBytes, offset)
    this.#headBytes += taken
    if (this.#headBytes === HEAD_BYTES) this.#startMessage()
    return taken
  }

  #startMessage(): void {
    const bytes = this.#head.readUInt32BE(1)
    if (this.#bytesMax !== -1 && bytes > this.#bytesMax)
      throw new Error(`a message of ${bytes} bytes is above the limit of ${this.#bytesMax} bytes a message`)
    // Whoever only announces a large message gets no memory for it.
    this.#message = Buffer.allocUnsafe(Math.min(this.#size, GRPC_FRAME_PREALLOCATED_BYTES_MAX))
    this.#head.copy(this.#message)
    this.#filled = HEAD_BYTES
  }

  #takeBody(data: Buffer, offset: number): number {
    const wanted = Math.min(this.#size - this.#filled, data.length - offset)
    if (this.#filled + wanted > this.#message!.length) this.#grow(this.#filled + wanted)
    data.copy(this.#message!, this.#filled, offset, offset + wanted)
    this.#filled += wanted
    return wanted
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.min(this.#size, Math.max(needed, 2 * this.#message!.length)))
    this.#message!.copy(larger, 0, 0, this.#filled)
    this.#message = larger
  }
}
