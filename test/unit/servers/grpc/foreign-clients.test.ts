/** What clients of other libraries do and grpc-js does not, spoken in bare HTTP/2. */
import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { zstdCompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { blobChunk, readBlobRequest } from '../../../../src/model/wire/messages.ts'
import { startTestServer } from '../../../support/grpc-server.ts'

const PUT = '/tvix.castore.v1.BlobService/Put'
const READ = '/tvix.castore.v1.BlobService/Read'
const ABSENT = readBlobRequest.encode(Digest.of(Buffer.from('absent')).bytes)

interface Dialled extends Disposable {
  readonly session: ClientHttp2Session
  start(path: string, message: Uint8Array, options?: { encoding?: string }): ClientHttp2Stream
}

function dial(bound: string): Dialled {
  const session = connect(`http://${bound}`)
  session.on('error', () => {})
  return {
    session,
    start(path, message, { encoding } = {}) {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...(encoding && { 'grpc-encoding': encoding }),
      })
      stream.on('error', () => {})
      const head = Buffer.alloc(5)
      head.writeUInt8(encoding ? 1 : 0)
      head.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([head, message]))
      return stream
    },
    [Symbol.dispose]: () => session.destroy(),
  }
}

/** The headers that a call ends with, of one that ends before it has an answer. */
async function ending(stream: ClientHttp2Stream) {
  const [headers] = await once(stream, 'response')
  stream.resume()
  return headers as Record<string, string>
}

test('who compresses in a way that is unknown here is told which ones are not', async () => {
  await using server = await startTestServer()
  using client = dial(server.bound)
  const message = zstdCompressSync(blobChunk.encode(Buffer.from('contents')))
  expect(await ending(client.start(PUT, message, { encoding: 'zstd' }))).toMatchObject({
    'grpc-status': '12',
    'grpc-message': expect.stringContaining('zstd'),
    'grpc-accept-encoding': 'identity,deflate,gzip',
  })
})

test('a reader that looks into many blobs and leaves costs the other calls of its connection nothing', async () => {
  await using server = await startTestServer()
  using client = dial(server.bound)
  for (let call = 0; call < 3_000 && !client.session.closed; call++) {
    const stream = client.start(READ, ABSENT)
    stream.close(constants.NGHTTP2_CANCEL)
    await once(stream, 'close')
  }
  expect(client.session.closed).toBe(false)
  expect(await ending(client.start(READ, ABSENT))).toMatchObject({ 'grpc-status': '5' })
})
