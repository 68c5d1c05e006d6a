import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export type Answer = (response: ServerResponse, request: IncomingMessage) => unknown

export interface TestHttpServer extends AsyncDisposable {
  /** With a slash at its end. */
  readonly url: URL
  /** `<method> <path>` of every request so far. */
  readonly requests: string[]
}

/** A web server on loopback that does to each request whatever the test wants. */
export async function startHttpServer(
  answer: Answer,
  tls?: { readonly key: string; readonly cert: string },
): Promise<TestHttpServer> {
  const requests: string[] = []
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    requests.push(`${request.method} ${request.url}`)
    response.on('error', () => {})
    answer(response, request)
  }
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: new URL(`${tls ? 'https' : 'http'}://127.0.0.1:${port}/`),
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
