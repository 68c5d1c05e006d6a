import { createServer, type Server } from 'node:http'
import { type Metric, renderMetrics } from '../../support/metrics.ts'
import { parseListenAddress } from '../listen/listen-address.ts'
import { startListeners } from '../listen/listener.ts'

export interface MetricsServer {
  /** Where it listens in fact. */
  readonly address: string
  close(): void
}

/**
 * Answers `GET /metrics` on a listener of its own, so that nobody who may only ask for numbers gets to the store.
 * `address`: as the daemon's other listeners take it.
 */
export async function startMetricsServer(
  address: string,
  metrics: readonly Metric[],
): Promise<MetricsServer> {
  const server = createMetricsHandler(metrics)
  const listeners = await startListeners(
    parseListenAddress(address),
    {},
    {
      onSocket: (socket) => server.emit('connection', socket),
      // Whoever asks for numbers asks again.
      onError: () => {},
    },
  )
  return {
    address: listeners.map((listener) => listener.address).join(', '),
    close() {
      for (const listener of listeners) listener.close()
      server.closeAllConnections()
    },
  }
}

function createMetricsHandler(metrics: readonly Metric[]): Server {
  return createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (path !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('the metrics are at /metrics\n')
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end()
      return
    }
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(renderMetrics(metrics))
  })
}
