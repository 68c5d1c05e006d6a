/**
 * One server of `npm run bench -- grpc`, in a process of its own: `ours`, `http2` or `grpc-js`, and for ours the address
 * of its blobs. Prints its port; ends with its standard input.
 */
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js'
import { blobChunk } from '../../src/model/wire/messages.ts'
import { createGrpcServer } from '../../src/servers/grpc/server.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { view } from '../../src/support/bytes.ts'
import { GRPC_BLOB_MESSAGE_BYTES, GRPC_WINDOW_BYTES } from '../../src/support/limits.ts'
import { silentLogger } from '../../src/support/log.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'
import { PATTERN_BYTES, PATTERN_DIGEST, PATTERN_PIECE_BYTES, READ_PATH } from './grpc-pattern.ts'

const PIECE = Buffer.alloc(PATTERN_PIECE_BYTES, 7)
const MESSAGE = Buffer.alloc(GRPC_BLOB_MESSAGE_BYTES, 7)

const SERVERS: Record<string, () => Promise<number>> = { ours, http2: bareHttp2, 'grpc-js': stockGrpcJs }

process.stdin.on('end', () => process.exit(0)).resume()
console.log(await SERVERS[process.argv[2]!]!())

/** Our server, with one blob more that costs nothing to make. */
async function ours(): Promise<number> {
  const stores = await openStores({
    blobs: process.argv[3]!,
    directories: 'memory:',
    pathInfos: 'memory:',
  })
  const server = createGrpcServer({
    ...stores,
    blobs: withPattern(stores.blobs),
    narCalculation: localNarCalculation(stores),
    logger: silentLogger,
  })
  return Number((await server.listen('127.0.0.1:0')).split(':')[1])
}

function withPattern(base: BlobService): BlobService {
  return {
    has: (digest, call) => base.has(digest, call),
    chunks: (digest, call) => base.chunks(digest, call),
    openWrite: (call) => base.openWrite(call),
    openRead: async (digest, call) =>
      digest.equals(PATTERN_DIGEST) ? pattern() : base.openRead(digest, call),
  }
}

async function* pattern(): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < PATTERN_BYTES; sent += PIECE.length) yield PIECE
}

/** What HTTP/2 in Node can do: no messages, no copies, the window that ours has. */
async function bareHttp2(): Promise<number> {
  const server = createServer({ settings: { initialWindowSize: GRPC_WINDOW_BYTES } })
  server.on('session', (session) => session.setLocalWindowSize(GRPC_WINDOW_BYTES))
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 })
    let sent = 0
    const more = () => {
      while (sent < PATTERN_BYTES) {
        sent += MESSAGE.length
        if (!stream.write(MESSAGE)) return
      }
      stream.end()
    }
    stream.on('drain', more)
    more()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** What grpc-js does when nobody tells it otherwise, with our codec and our size of messages. */
async function stockGrpcJs(): Promise<number> {
  const server = new Server()
  const same = (bytes: Buffer) => bytes
  const read = {
    path: READ_PATH,
    requestStream: false,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: (data: Buffer) => view(blobChunk.encode(data)),
    responseDeserialize: same,
  }
  server.addService(
    { Read: read },
    {
      Read: async (call: ServerWritableStream<Buffer, Buffer>) => {
        for (let sent = 0; sent < PATTERN_BYTES; sent += MESSAGE.length)
          if (!call.write(MESSAGE)) await new Promise((resolve) => call.once('drain', resolve))
        call.end()
      },
    },
  )
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  )
  return promise
}
