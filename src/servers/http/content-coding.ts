/** Content codings (RFC 9110 §8.4): which one a client gets, and the stream that makes it. */
import { pipeline } from 'node:stream/promises'
import { constants, createGzip, createZstdCompress } from 'node:zlib'
import { READ_BUFFER_BYTES } from '../../support/limits.ts'

export type ContentCoding = 'zstd' | 'gzip'

/** The better first. */
const CODINGS: readonly ContentCoding[] = ['zstd', 'gzip']

/** The coding that `Accept-Encoding` gives the highest weight, and the better one of equals; `undefined` for none. */
export function negotiateCoding(header: string | undefined): ContentCoding | undefined {
  if (header === undefined) return undefined
  const weights = new Map<string, number>()
  for (const item of header.split(',')) {
    const [coding = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    weights.set(coding, weight === undefined ? 1 : Number(weight.slice(2)) || 0)
  }
  const weightOf = (coding: string) => weights.get(coding) ?? weights.get('*') ?? 0
  let best: ContentCoding | undefined
  for (const coding of CODINGS) if (weightOf(coding) > (best ? weightOf(best) : 0)) best = coding
  // A client that says so rather takes the bytes as they are.
  return best && weightOf(best) >= (weights.get('identity') ?? 0) ? best : undefined
}

/** Made while it is sent, so speed counts more than the last percent. */
const ZSTD_LEVEL = 1
const GZIP_LEVEL = 1

function createEncoder(coding: ContentCoding) {
  const chunkSize = READ_BUFFER_BYTES
  if (coding === 'gzip') return createGzip({ level: GZIP_LEVEL, chunkSize })
  return createZstdCompress({ chunkSize, params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } })
}

/** The source's bytes in the coding. An error of the source is thrown, and the coding then has no end. */
export async function* encoded(
  source: AsyncIterable<Uint8Array>,
  coding: ContentCoding,
): AsyncGenerator<Uint8Array> {
  const encoder = createEncoder(coding)
  // Its failure destroys the encoder, and is seen by whoever reads from that.
  pipeline(source, encoder).catch(() => {})
  yield* encoder
}
