/**
 * What our server needs of grpc-js and cannot have by its public interface. Everything is checked before it is
 * used: a release that renames it must fail here, and not by quietly being slow or taking half an upload for whole.
 */
import type { Http2Server, ServerHttp2Session, ServerHttp2Stream, ServerOptions } from 'node:http2'
import {
  Metadata,
  type Server,
  type ServerCredentials,
  type ServerInterceptingCall,
  type ServerInterceptor,
  type ServerReadableStream,
  status,
} from '@grpc/grpc-js'
import { PieceDecoder } from '../../services/grpc-pieces.ts'
import { StoreError } from '../../support/errors.ts'
import {
  GRPC_RECEIVE_BYTES_MAX,
  GRPC_RESETS_BURST,
  GRPC_RESETS_PER_SECOND,
  GRPC_WINDOW_BYTES,
} from '../../support/limits.ts'

interface ServerInternals {
  commonServerOptions?: ServerOptions
  createHttp2Server?(credentials: ServerCredentials): Http2Server
}

/**
 * Lets uploads have a flow-control window of GRPC_WINDOW_BYTES, per stream and per connection. grpc-js has an
 * option for it that only its client reads (grpc/grpc-node#3058); with the 64 KiB of HTTP/2 an upload waits for
 * a round trip after every 64 KiB. Reports every session, which a graceful shutdown needs to know.
 *
 * Call it before the server listens.
 */
export function widenWindows(server: Server, onSession: (session: ServerHttp2Session) => void): void {
  const internals = server as unknown as ServerInternals
  const { commonServerOptions, createHttp2Server } = internals
  if (!commonServerOptions || !createHttp2Server) throw changed('its HTTP/2 server')
  commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize: GRPC_WINDOW_BYTES }
  commonServerOptions.streamResetBurst = GRPC_RESETS_BURST
  commonServerOptions.streamResetRate = GRPC_RESETS_PER_SECOND
  internals.createHttp2Server = (credentials) => {
    const http2Server = createHttp2Server.call(server, credentials)
    http2Server.on('session', (session) => {
      session.setLocalWindowSize(GRPC_WINDOW_BYTES)
      onSession(session)
    })
    return http2Server
  }
}

interface DecompressingCall {
  readonly incomingEncoding?: string
  decompressMessage?(message: Buffer, encoding: string): Promise<Buffer>
}

/** Those of grpc-js. */
const ENCODINGS: readonly string[] = ['identity', 'deflate', 'gzip']

/**
 * Tells clients that compress in a way of which we know nothing what we do know, as gRPC has it; grpc-js refuses them
 * without that word. Must come before all other interceptors.
 */
export const encodingInterceptor: ServerInterceptor = (_method, call) => {
  const internals = call as DecompressingCall
  const { incomingEncoding } = internals
  if (incomingEncoding === undefined || !internals.decompressMessage)
    throw changed('what decompresses a message')
  if (!ENCODINGS.includes(incomingEncoding)) {
    const { decompressMessage } = internals
    internals.decompressMessage = (message, encoding) =>
      encoding === incomingEncoding
        ? Promise.reject(unknownEncoding(encoding))
        : decompressMessage.call(call, message, encoding)
  }
  return call as ServerInterceptingCall
}

function unknownEncoding(encoding: string) {
  const metadata = new Metadata()
  metadata.set('grpc-accept-encoding', ENCODINGS.join())
  const details = `messages are compressed with ${encoding}, which is unknown here: there are ${ENCODINGS.join(', ')}`
  return { code: status.UNIMPLEMENTED, details, metadata }
}

interface CallInternals {
  readonly call?: InterceptedCall
}

/** A call as the transport has it, or an interceptor around one. */
interface InterceptedCall {
  readonly stream?: ServerHttp2Stream
  readonly nextCall?: InterceptedCall
  decoder?: { write(data: Buffer): Buffer[] }
}

/** Whether the client reset the call, or its connection broke, so that the end of its messages is no real end. */
export function isCut(call: ServerReadableStream<Buffer, Buffer>): boolean {
  const stream = http2Stream(call)
  return stream.closed || stream.destroyed
}

/** Lets one message of an upload be received ahead of its reader. Node would let it be 16, whatever their size. */
export function holdOneMessage(call: ServerReadableStream<Buffer, Buffer>): void {
  const state = (call as unknown as { _readableState?: { highWaterMark: number } })._readableState
  if (state) state.highWaterMark = 1
  if (call.readableHighWaterMark !== 1) throw changed('how much it reads ahead')
}

/** Makes a call of which nothing was received yet receive its messages in pieces. */
export function receivePieces(call: object): PieceDecoder {
  const inner = innermost(call)
  if (typeof inner?.decoder?.write !== 'function') throw changed('the decoder of a call')
  const decoder = new PieceDecoder(GRPC_RECEIVE_BYTES_MAX)
  inner.decoder = decoder
  return decoder
}

/** The HTTP/2 stream of a call, on which framed messages may be written once the headers are sent. */
export function http2Stream(call: object): ServerHttp2Stream {
  const stream = innermost(call)?.stream
  if (!stream) throw changed('the HTTP/2 stream of a call')
  return stream
}

/** Each interceptor wraps the call once more. */
function innermost(call: object): InterceptedCall | undefined {
  let inner = (call as CallInternals).call
  while (inner?.nextCall) inner = inner.nextCall
  return inner
}

function changed(what: string): StoreError {
  return new StoreError('internal', `this version of @grpc/grpc-js hides ${what}`)
}
