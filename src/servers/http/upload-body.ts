import type { IncomingHttpHeaders } from 'node:http'
import { concatBytes } from '../../support/bytes.ts'
import { type Compression, decompressed } from '../../support/decompress.ts'
import { ERROR_TABLE, StoreError } from '../../support/errors.ts'
import type { HttpRequest } from './exchange.ts'
import { Refusal } from './fault-reply.ts'

const CODINGS: Readonly<Record<string, Compression>> = {
  identity: 'none',
  gzip: 'gzip',
  'x-gzip': 'gzip',
  zstd: 'zstd',
  br: 'br',
  xz: 'xz',
  bzip2: 'bzip2',
}

/** The body without its content coding. Throws a Refusal above `limit` bytes, and for what the client did wrong. */
export async function* uploadOf(request: HttpRequest, limit: number): AsyncGenerator<Uint8Array> {
  const { headers, body, signal } = request
  const coding = codingOf(headers)
  if (coding === 'none' && Number(headers['content-length'] ?? 0) > limit) throw tooLarge(limit)
  const decoded = decompressedUpload(body, coding, { signal })
  let length = 0
  for await (const piece of decoded) {
    length += piece.length
    if (length > limit) throw tooLarge(limit)
    yield piece
  }
}

/** The whole of it. */
export async function readUpload(request: HttpRequest, limit: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of uploadOf(request, limit)) pieces.push(piece)
  return concatBytes(pieces)
}

/** What does not decompress is the client's fault, and it is told why. */
export async function* decompressedUpload(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  call: { readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  try {
    yield* decompressed(source, compression, call)
  } catch (error) {
    if (error instanceof Refusal) throw error
    const { code, message } = StoreError.from(error)
    if (code === 'invalid-argument' || code === 'exhausted' || code === 'unimplemented')
      throw new Refusal(ERROR_TABLE[code].http, message)
    throw error
  }
}

function codingOf(headers: IncomingHttpHeaders): Compression {
  const text = headers['content-encoding']?.trim().toLowerCase() || 'identity'
  if (!Object.hasOwn(CODINGS, text))
    throw new Refusal(415, `the content coding is none of ${Object.keys(CODINGS).join(', ')}`)
  return CODINGS[text]!
}

function tooLarge(limit: number): Refusal {
  return new Refusal(413, `the body has more than ${limit} bytes`)
}
