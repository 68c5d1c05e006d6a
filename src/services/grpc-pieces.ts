/** Messages that come past grpc-js, in the pieces in which HTTP/2 delivers them. */
import type { ClientHttp2Stream } from 'node:http2'
import type { Channel } from '@grpc/grpc-js'
import { StoreError } from '../support/errors.ts'
import { GRPC_PIECE_BYTES_MIN, GRPC_RECEIVE_BYTES_MAX } from '../support/limits.ts'
import { type Body, FrameReader, HEAD_BYTES, JoinedBody } from './grpc-frames.ts'

const NOTHING = Buffer.alloc(0)
/** A head that announces no bytes. */
const NO_MESSAGE = Buffer.alloc(HEAD_BYTES)

/** grpc-js wraps a call four times, from what its user has to what the connection has. */
interface ResolvingCall {
  readonly child?: RetryingCall
}
interface RetryingCall {
  readonly committedCallIndex?: number
  readonly underlyingCalls?: readonly { readonly call?: LoadBalancingCall }[]
}
interface LoadBalancingCall {
  readonly child?: ConnectionCall
}
interface ConnectionCall {
  readonly http2Stream?: ClientHttp2Stream
  decoder?: { write(data: Buffer): Buffer[] }
}

function connectionCall(call: ReturnType<Channel['createCall']>): ConnectionCall | undefined {
  const retrying = (call as ResolvingCall).child
  return retrying?.underlyingCalls?.[retrying.committedCallIndex ?? -1]?.call?.child
}

/**
 * The HTTP/2 stream of a call that grpc-js has sent a message on: what is written to it comes next. Without retries
 * (see grpc-channel.ts) a call is committed to its connection by its first message.
 */
export function streamOf(call: ReturnType<Channel['createCall']>): ClientHttp2Stream {
  const stream = connectionCall(call)?.http2Stream
  if (typeof stream?.write !== 'function')
    throw new StoreError('internal', 'this version of @grpc/grpc-js hides the HTTP/2 stream of a call')
  return stream
}

/** Makes a call whose headers have just come receive its messages in pieces. */
export function receiveInPieces(call: ReturnType<Channel['createCall']>): PieceDecoder {
  const inner = connectionCall(call)
  if (typeof inner?.decoder?.write !== 'function')
    throw new StoreError('internal', 'this version of @grpc/grpc-js hides the decoder of a call')
  const decoder = new PieceDecoder(GRPC_RECEIVE_BYTES_MAX)
  inner.decoder = decoder
  return decoder
}

/**
 * In the place of grpc-js' decoder in one call: takes messages past grpc-js, in the pieces in which they came, so that
 * the bulk of a blob is not copied. (A copy costs more than its time: V8 collects garbage by how much memory buffers
 * take.) grpc-js gets an empty message for each, and so keeps count and flow control.
 */
export class PieceDecoder {
  readonly #frames: FrameReader<Buffer | readonly Buffer[]>
  /** `undefined` for those that grpc-js has. */
  readonly #received: (readonly Buffer[] | undefined)[] = []

  constructor(bytesMax: number) {
    this.#frames = new FrameReader<Buffer | readonly Buffer[]>(bytesMax, (head, bytes) =>
      // To decompress a message is the business of grpc-js.
      head[0] === 0 ? new PiecewiseBody(bytes) : new JoinedBody(head, bytes),
    )
  }

  /** Named and shaped as grpc-js has it. */
  write(data: Buffer): Buffer[] {
    return this.#frames.push(data).map((message) => {
      const isJoined = Buffer.isBuffer(message)
      this.#received.push(isJoined ? undefined : message)
      return isJoined ? message : NO_MESSAGE
    })
  }

  /** The message for which grpc-js delivered `message`: the next one. */
  take(message: Buffer): readonly Buffer[] {
    return this.#received.shift() ?? [message]
  }
}

/** Small pieces are copied together: each would hold on to the 64 KiB that were read from the socket with it. */
class PiecewiseBody implements Body<readonly Buffer[]> {
  readonly #pieces: Buffer[] = []
  #missing: number
  #small: Buffer = NOTHING
  #smallBytes = 0

  constructor(bytes: number) {
    this.#missing = bytes
  }

  add(bytes: Buffer): void {
    if (this.#smallBytes + bytes.length > this.#small.length) this.#endSmall()
    if (bytes.length >= GRPC_PIECE_BYTES_MIN) this.#pieces.push(bytes)
    else this.#addSmall(bytes)
    this.#missing -= bytes.length
  }

  complete(): readonly Buffer[] {
    this.#endSmall()
    return this.#pieces
  }

  #addSmall(bytes: Buffer): void {
    if (this.#smallBytes === 0)
      this.#small = Buffer.allocUnsafe(Math.min(this.#missing, GRPC_PIECE_BYTES_MIN))
    this.#smallBytes += bytes.copy(this.#small, this.#smallBytes)
  }

  #endSmall(): void {
    if (this.#smallBytes > 0) this.#pieces.push(this.#small.subarray(0, this.#smallBytes))
    this.#small = NOTHING
    this.#smallBytes = 0
  }
}
