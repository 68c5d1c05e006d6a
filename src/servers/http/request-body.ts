import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { StoreError } from '../../support/errors.ts'

/** A request, in either version of HTTP. */
export type RequestStream = IncomingMessage | Http2ServerRequest

/**
 * The body of a request. `begin` is called when somebody wants it, and `count` with the bytes of each piece. Throws
 * `cancelled` when the client broke off, which Node does not say of every upload by itself: an HTTP/2 stream that was
 * cut can look like one that ended.
 */
export async function* bodyOf(
  stream: RequestStream,
  begin: () => void,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  begin()
  let received = 0
  try {
    for await (const piece of stream as AsyncIterable<Uint8Array>) {
      received += piece.length
      count(piece.length)
      yield piece
    }
  } catch (error) {
    throw new StoreError('cancelled', 'the client broke off its upload', { cause: error })
  }
  const { 'content-length': length } = stream.headers
  const isShort = length !== undefined && received !== Number(length)
  if (isShort || wasCut(stream)) throw new StoreError('cancelled', 'the client broke off its upload')
}

function wasCut(stream: RequestStream): boolean {
  if (!('stream' in stream)) return !stream.complete
  return stream.stream.aborted || stream.stream.rstCode !== 0 || stream.stream.destroyed
}
