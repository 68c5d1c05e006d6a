/** The pages behind a plain server of Node, for a browser to look at. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { HttpRequest } from '../../src/servers/http/exchange.ts'
import { createPages, type PagesParts } from '../../src/servers/http/pages/pages.ts'
import { silentLogger } from '../../src/support/log.ts'

export interface PagesServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string
}

export async function startPagesServer(parts: Omit<PagesParts, 'logger'>): Promise<PagesServer> {
  const pages = createPages({ logger: silentLogger, ...parts })
  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const request = requestOf(incoming)
    const { status, headers, content } = (await pages.handle(request)) ?? pages.notFound(request)
    response.writeHead(status, { ...headers, ...(content && { 'content-type': content.type }) })
    if (content && request.method !== 'HEAD') await pipeline(Readable.from(content.read()), response)
    else response.end()
  }
  const server = createServer((incoming, response) => {
    answer(incoming, response).catch(() => response.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      pages.close()
      server.closeAllConnections()
      server.close()
    },
  }
}

function requestOf(incoming: IncomingMessage): HttpRequest {
  const [path, query = ''] = incoming.url!.split(/\?(.*)/s) as [string, string?]
  return {
    method: incoming.method!,
    path,
    query: new URLSearchParams(query),
    headers: incoming.headers,
    permissions: new Set(['read', 'list'] as const),
    body: incoming,
    signal: new AbortController().signal,
  }
}
