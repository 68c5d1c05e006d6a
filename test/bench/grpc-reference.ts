/**
 * The clients that ours is compared with, in a process of their own: what ours tells V8 and grpc-js would change what they are.
 * For each line `http2 PORT` or `grpc-js PORT` one stream of the pattern is read, and its seconds are printed.
 */
import { createInterface } from 'node:readline'
import { Client, credentials } from '@grpc/grpc-js'
import { blobChunk } from '../../src/model/wire/messages.ts'
import { GRPC_WINDOW_BYTES } from '../../src/support/limits.ts'
import { expectAll, openHttp2, PATTERN_BYTES, READ_PATH, READ_REQUEST } from './grpc-pattern.ts'
import { measure } from './report.ts'

const CLIENTS: Record<string, (port: number) => Promise<void>> = { http2: readHttp2, 'grpc-js': readStock }

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, port] = line.split(' ') as [string, string]
  console.log(await measure(() => CLIENTS[kind]!(Number(port))))
}

async function readHttp2(port: number): Promise<void> {
  const session = openHttp2(port, GRPC_WINDOW_BYTES)
  const stream = session.request({ ':path': '/' })
  let received = 0
  stream.on('data', (piece: Buffer) => {
    received += piece.length
  })
  await new Promise((resolve) => stream.once('end', resolve))
  session.close()
  expectAll(received, PATTERN_BYTES)
}

async function readStock(port: number): Promise<void> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  const stream = client.makeServerStreamRequest(READ_PATH, same, blobChunk.decode, READ_REQUEST)
  let received = 0
  for await (const data of stream) received += data.length
  client.close()
  expectAll(received, PATTERN_BYTES)
}

function same(bytes: Buffer): Buffer {
  return bytes
}
