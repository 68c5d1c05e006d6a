/**
 * Puts messages together out of the pieces in which HTTP/2 delivers them, in place of what grpc-js has for it. That
 * one keeps all pieces of a message and joins them when the last is there; copying each as it comes lets go of it at
 * once, which halves what receiving a blob costs. And this one names the limit that a message is above.
 */
import { createRequire } from 'node:module'
import type { Writable } from 'node:stream'
import { countBuffers } from '../support/buffer-garbage.ts'
import { StoreError } from '../support/errors.ts'
import { GRPC_FRAME_PREALLOCATED_BYTES_MAX } from '../support/limits.ts'

export const HEAD_BYTES = 5
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

/** The bytes of one message while they come in; gives `M` when it has them all. */
export interface Body<M> {
  add(bytes: Buffer): void
  complete(): M
}

/** Divides what HTTP/2 delivers into messages; what becomes of their bytes is the matter of `startBody`. */
export class FrameReader<M> {
  readonly #bytesMax: number
  readonly #startBody: (head: Buffer, bytes: number) => Body<M>
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headBytes = 0
  #body: Body<M> | undefined
  #missing = 0

  /** `bytesMax`: of one message; -1 for no limit. */
  constructor(bytesMax: number, startBody: (head: Buffer, bytes: number) => Body<M>) {
    this.#bytesMax = bytesMax
    this.#startBody = startBody
  }

  /** The messages that these bytes complete. Throws an Error, for grpc-js to say RESOURCE_EXHAUSTED with. */
  push(data: Buffer): M[] {
    countBuffers(data.length)
    const complete: M[] = []
    let offset = 0
    while (offset < data.length) {
      if (!this.#body) offset += this.#takeHead(data, offset)
      if (this.#body) offset += this.#takeBody(data, offset)
      if (!this.#body || this.#missing > 0) continue
      complete.push(this.#body.complete())
      this.#body = undefined
      this.#headBytes = 0
    }
    return complete
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
    this.#missing = bytes
    this.#body = this.#startBody(this.#head, bytes)
  }

  #takeBody(data: Buffer, offset: number): number {
    const taken = Math.min(this.#missing, data.length - offset)
    if (taken > 0) this.#body!.add(data.subarray(offset, offset + taken))
    this.#missing -= taken
    return taken
  }
}

/** Messages with their heads of five bytes, each in one buffer, as grpc-js wants them. */
export class FrameDecoder extends FrameReader<Buffer> {
  constructor(bytesMax: number) {
    super(bytesMax, (head, bytes) => new JoinedBody(head, bytes))
  }
}

export class JoinedBody implements Body<Buffer> {
  readonly #bytes: number
  #message: Buffer
  #filled = HEAD_BYTES

  constructor(head: Buffer, bytes: number) {
    this.#bytes = HEAD_BYTES + bytes
    countBuffers(this.#bytes)
    // Whoever only announces a large message gets no memory for it.
    this.#message = Buffer.allocUnsafe(Math.min(this.#bytes, GRPC_FRAME_PREALLOCATED_BYTES_MAX))
    head.copy(this.#message)
  }

  add(bytes: Buffer): void {
    const filled = this.#filled + bytes.length
    if (filled > this.#message.length) this.#grow(filled)
    bytes.copy(this.#message, this.#filled)
    this.#filled = filled
  }

  complete(): Buffer {
    return this.#message
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.min(this.#bytes, Math.max(needed, 2 * this.#message.length)))
    this.#message.copy(larger, 0, 0, this.#filled)
    this.#message = larger
  }
}

/**
 * Writes one message, which is not compressed, in the pieces in which it is there. grpc-js would copy every byte into
 * a frame of its own; those copies, and the collection of them, are much of what the bulk of a blob costs.
 */
export function writeFrame(
  stream: Writable,
  parts: readonly Uint8Array[],
  written: (error?: Error | null) => void,
): void {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(
    parts.reduce((sum, part) => sum + part.length, 0),
    1,
  )
  // Nothing empty: Node takes all buffers for sent, and frees them, when it comes to an empty last one.
  const pieces = [head, ...parts.filter((part) => part.length > 0)]
  const last = pieces.pop()
  stream.cork()
  for (const piece of pieces) stream.write(piece)
  stream.write(last, written)
  stream.uncork()
}
