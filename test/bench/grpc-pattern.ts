/** What the servers and the client of the gRPC bench have agreed on. */
import { type ClientHttp2Session, connect } from 'node:http2'
import { Digest } from '../../src/model/castore/digest.ts'
import { readBlobRequest } from '../../src/model/wire/messages.ts'
import { CHUNK_BYTES_AVG } from '../../src/support/limits.ts'

/** A blob of zero cost to its server; the digest is only a name for it, and nobody verifies it. */
export const PATTERN_DIGEST = Digest.of(Buffer.from('pattern'))
export const PATTERN_BYTES = 1024 * 1024 * 1024
/** What a store hands out at once. */
export const PATTERN_PIECE_BYTES = CHUNK_BYTES_AVG
export const READ_PATH = '/tvix.castore.v1.BlobService/Read'
export const READ_REQUEST = Buffer.from(readBlobRequest.encode(PATTERN_DIGEST.bytes))

export function openHttp2(port: number, windowBytes?: number): ClientHttp2Session {
  const settings = windowBytes === undefined ? {} : { initialWindowSize: windowBytes }
  const session = connect(`http://127.0.0.1:${port}`, { settings })
  session.on('error', () => {})
  if (windowBytes !== undefined) session.once('connect', () => session.setLocalWindowSize(windowBytes))
  return session
}

export function expectAll(received: number, bytes: number): void {
  if (received !== bytes) throw new Error(`received ${received} bytes`)
}
