/** A binary cache in this process, over stores in memory, and clients that see everything of an answer. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import type { Node } from '../../src/model/castore/node.ts'
import { type Bridge, type BridgeParts, createBridge } from '../../src/servers/http/bridge.ts'
import { createHttpServer, type HttpServer, type HttpServerParts } from '../../src/servers/http/server.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { memoryNarIndex } from '../../src/services/nar-index/memory.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { concatBytes } from '../../src/support/bytes.ts'
import { silentLogger } from '../../src/support/log.ts'
import { ingestNar } from '../../src/transfer/ingest-nar.ts'

export interface TestBridge extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string
  readonly url: string
  readonly server: HttpServer
  readonly bridge: Bridge
  readonly parts: BridgeParts
  send(method: string, path: string, more?: RequestParts): Promise<Answer>
  /** Stores the NAR's contents without a path info. */
  ingest(nar: Uint8Array): Promise<Node>
}

export interface RequestParts {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Whether the connection broke before the body was complete. */
  readonly isTorn: boolean
}

export async function startTestBridge(
  changes: Partial<BridgeParts> = {},
  serverChanges: Partial<HttpServerParts> = {},
  query = '',
): Promise<TestBridge> {
  const { blobs = memoryBlobService(), directories = memoryDirectoryService() } = changes
  const parts: BridgeParts = {
    blobs,
    directories,
    pathInfos: memoryPathInfoService(),
    narIndex: memoryNarIndex(),
    ingestNar: (nar, options) => ingestNar({ blobs, directories }, nar, options),
    logger: silentLogger,
    priority: 39,
    ...changes,
  }
  const bridge = createBridge(parts)
  const server = createHttpServer({ handler: bridge.handle, logger: parts.logger, ...serverChanges })
  const address = await server.listen(`127.0.0.1:0${query}`)
  const url = `http://${address}`
  return {
    address,
    url,
    server,
    bridge,
    parts,
    send: (method, path, more) => send(`${url}${path}`, method, more),
    ingest: async (nar) => (await parts.ingestNar(onePiece(nar))).node,
    [Symbol.asyncDispose]: () => server.shutdown(1_000),
  }
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** One request on a connection of its own, with exactly these headers. */
export function send(
  url: string,
  method: string,
  { headers = {}, body }: RequestParts = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const request = httpRequest(url, { method, headers, agent: false }, (response) => {
    const pieces: Uint8Array[] = []
    const settle = (isTorn: boolean) =>
      resolve({
        status: response.statusCode!,
        headers: response.headers,
        body: Buffer.from(concatBytes(pieces)),
        isTorn,
      })
    response.on('data', (piece: Uint8Array) => pieces.push(piece))
    response.on('end', () => settle(false))
    response.on('error', () => settle(true))
  })
  request.on('error', reject)
  request.end(body)
  return promise
}

/** The same over HTTP/2, asked for with nothing before it. */
export function sendHttp2(
  url: string,
  method: string,
  { headers = {}, body }: RequestParts = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const { origin, pathname, search } = new URL(url)
  const session = connectHttp2(origin)
  const stream = session.request({ ':method': method, ':path': `${pathname}${search}`, ...headers })
  const pieces: Uint8Array[] = []
  let received: Record<string, unknown> | undefined
  let hasEnded = false
  stream.on('response', (each) => {
    received = each
  })
  stream.on('data', (piece: Uint8Array) => pieces.push(piece))
  stream.on('end', () => {
    hasEnded = true
  })
  const fail = (error: Error) => {
    if (!received) reject(error)
  }
  stream.on('error', fail)
  session.on('error', fail)
  stream.on('close', () => {
    session.close()
    if (!received) return reject(new Error('no answer'))
    resolve({
      status: Number(received[':status']),
      headers: received as IncomingHttpHeaders,
      body: Buffer.from(concatBytes(pieces)),
      isTorn: !hasEnded || stream.rstCode !== constants.NGHTTP2_NO_ERROR,
    })
  })
  stream.end(body)
  return promise
}
