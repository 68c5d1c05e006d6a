import type { Readable } from 'node:stream'
import { concatBytes } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { BUCKET_OBJECT_BYTES_MAX } from '../../support/limits.ts'
import type { HttpBody } from '../http-body.ts'
import type { Request } from '../requests.ts'

/**
 * The whole body of an answer. A body that is shorter or longer than the `length` that the server announced is
 * `unavailable`: the connection broke, and SDKs do not all notice.
 */
export async function readBody(
  body: Readable,
  length: number | undefined,
  request: Request,
): Promise<Uint8Array> {
  const abort = () => body.destroy(StoreError.from(request.signal.reason))
  if (request.signal.aborted) abort()
  else request.signal.addEventListener('abort', abort, { once: true })
  try {
    const pieces: Uint8Array[] = []
    let got = 0
    for await (const piece of body as AsyncIterable<Uint8Array>) {
      request.progress()
      got += piece.length
      if (got > Math.min(length ?? BUCKET_OBJECT_BYTES_MAX, BUCKET_OBJECT_BYTES_MAX))
        throw new StoreError(
          'corrupt',
          `the answer is longer than ${length ?? BUCKET_OBJECT_BYTES_MAX} bytes`,
        )
      pieces.push(piece)
    }
    if (length !== undefined && got < length)
      throw new StoreError('unavailable', `the answer broke off after ${got} of ${length} bytes`)
    return concatBytes(pieces, got)
  } finally {
    request.signal.removeEventListener('abort', abort)
    // A connection whose body was not read to its end is of no use any more.
    if (!body.readableEnded) body.destroy()
  }
}

/** The same of an answer to our own client, which knows what was announced. */
export function readHttpBody(body: HttpBody, request: Request): Promise<Uint8Array> {
  return body.bytes(BUCKET_OBJECT_BYTES_MAX, () => request.progress())
}
