import { once } from 'node:events'
import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { concatBytes } from '../../src/support/bytes.ts'

/** One call as a server sees it that is bound by no rule of gRPC. */
export class HostileCall {
  readonly stream: ServerHttp2Stream
  readonly session: ServerHttp2Session
  /** Messages of the client, up to its end. */
  readonly requests: readonly Uint8Array[]

  constructor(stream: ServerHttp2Stream, requests: readonly Uint8Array[]) {
    this.stream = stream
    this.session = stream.session as ServerHttp2Session
    this.requests = requests
  }

  headers(extra: Record<string, string> = {}): this {
    this.stream.respond(
      { ':status': 200, 'content-type': 'application/grpc+proto', ...extra },
      { waitForTrailers: true },
    )
    return this
  }

  /** Resolves when there is room for more, or when nobody listens any more. */
  async message(bytes: Uint8Array, declared = bytes.length, compressed = false): Promise<void> {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt8(compressed ? 1 : 0)
    prefix.writeUInt32BE(declared, 1)
    await this.raw(concatBytes([prefix, bytes]))
  }

  async raw(bytes: Uint8Array): Promise<void> {
    if (this.stream.closed || this.stream.destroyed) return
    if (!this.stream.write(bytes))
      await Promise.race([once(this.stream, 'drain'), once(this.stream, 'close')])
  }

  get gone(): boolean {
    return this.stream.closed || this.stream.destroyed
  }

  /** The end of the answer, with a status. */
  end(status = 0, message = ''): void {
    this.stream.once('wantTrailers', () => {
      this.stream.sendTrailers({ 'grpc-status': String(status), ...(message && { 'grpc-message': message }) })
    })
    this.stream.end()
  }

  /** An answer without headers of its own. */
  trailersOnly(status: number, message = '', extra: Record<string, string> = {}): void {
    this.stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc+proto',
        'grpc-status': String(status),
        'grpc-message': message,
        ...extra,
      },
      { endStream: true },
    )
  }

  reset(code: number = constants.NGHTTP2_INTERNAL_ERROR): void {
    this.stream.close(code)
  }

  /** Headers and messages, then OK. */
  async answer(...messages: readonly Uint8Array[]): Promise<void> {
    this.headers()
    for (const message of messages) await this.message(message)
    this.end()
  }
}

export type Behaviour = (call: HostileCall) => void | Promise<void>

/** By procedure: `BlobService/Read`. What is not named is UNIMPLEMENTED. */
export type Behaviours = Readonly<Record<string, Behaviour>>

export interface HostileServer extends AsyncDisposable {
  readonly address: string
  /** `host:port` */
  readonly bound: string
  /** Calls by procedure, without those that only ask for the family. */
  readonly calls: ReadonlyMap<string, number>
}

/** An HTTP/2 server on loopback that answers gRPC calls as `behaviours` say, for the family `tvix`. */
export async function startHostileServer(behaviours: Behaviours): Promise<HostileServer> {
  const calls = new Map<string, number>()
  const sessions = new Set<ServerHttp2Session>()
  const server = createServer()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    void serve(stream, headers, behaviours, calls)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    address: `grpc+http://${bound}`,
    bound,
    calls,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function serve(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  behaviours: Behaviours,
  calls: Map<string, number>,
): Promise<void> {
  const path = String(headers[':path'])
  const procedure = path.replace(/^\/tvix\.(castore|store)\.v1\./, '')
  const pieces: Buffer[] = []
  try {
    for await (const piece of stream) pieces.push(piece as Buffer)
  } catch {
    return // the client left
  }
  const call = new HostileCall(stream, parseMessages(Buffer.concat(pieces)))
  if (isProbe(procedure, call.requests)) {
    call.trailersOnly(3, 'invalid digest length')
    return
  }
  calls.set(procedure, (calls.get(procedure) ?? 0) + 1)
  const behaviour = behaviours[procedure]
  if (behaviour) await behaviour(call)
  else call.trailersOnly(12, 'unimplemented')
}

/** What our clients ask to find out which family a peer speaks: about a digest without bytes. */
function isProbe(procedure: string, requests: readonly Uint8Array[]): boolean {
  return /\/(Stat|Get)$/.test(procedure) && requests.length === 1 && requests[0]!.length <= 2
}

function parseMessages(body: Buffer): Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1)
    messages.push(body.subarray(at + 5, end))
    at = end
  }
  return messages
}
