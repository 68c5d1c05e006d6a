import { Client, credentials, Metadata, status } from '@grpc/grpc-js'

export interface RawAnswer {
  readonly code: string
  readonly details: string
  readonly messages: readonly Buffer[]
  /** Whether headers came before the trailers. */
  readonly headers: boolean
}

export interface RawClient extends Disposable {
  /** Sends the messages as they are and collects whatever comes back; never throws. */
  call(path: string, ...requests: Uint8Array[]): Promise<RawAnswer>
}

const same = (bytes: Buffer) => bytes

/** A grpc-js client with its defaults, that knows nothing of our messages. `target`: as grpc-js wants it. */
export function rawClient(target: string, metadata = new Metadata()): RawClient {
  const client = new Client(target, credentials.createInsecure())
  return {
    call(path, ...requests) {
      const stream = client.makeBidiStreamRequest(path, same, same, metadata)
      const messages: Buffer[] = []
      let headers = false
      stream.on('metadata', () => {
        headers = true
      })
      stream.on('data', (message: Buffer) => messages.push(message))
      stream.on('error', () => {}) // 'status' tells
      for (const request of requests) stream.write(Buffer.from(request))
      stream.end()
      return new Promise((resolve) => {
        stream.on('status', ({ code, details }) =>
          resolve({ code: status[code]!, details, messages, headers }),
        )
      })
    },
    [Symbol.dispose]: () => client.close(),
  }
}
