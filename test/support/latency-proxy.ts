import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A proxy for HTTP on loopback that is as far away as it is told. */
export interface LatencyProxy extends AsyncDisposable {
  readonly port: number
  /** Requests that passed so far; those of HTTP/1.1 without pipelining, as SDKs send them. */
  readonly requests: number
}

/** Every byte towards the client arrives `ms` milliseconds late, however many are on their way. */
export async function startLatencyProxy(targetPort: number, ms: number): Promise<LatencyProxy> {
  const sockets = new Set<Socket>()
  let requests = 0
  const server = createServer((near) => {
    const far = connect(targetPort, '127.0.0.1')
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        setTimeout(() => other.destroySoon(), ms)
      })
    }
    near.on('data', (piece) => {
      if (REQUEST.test(piece.subarray(0, 8).toString('latin1'))) requests++
      far.write(piece)
    })
    far.on('data', (piece) => {
      setTimeout(() => !near.destroyed && near.write(piece), ms)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get requests() {
      return requests
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const REQUEST = /^(GET|HEAD|PUT|POST|DELETE) /
