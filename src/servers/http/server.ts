import { createServer, type Server } from 'node:http'
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { FaultLog } from '../../support/fault-log.ts'
import {
  HTTP_HEADER_BYTES_MAX,
  HTTP_SERVER_HEADERS_MS_MAX,
  HTTP_SERVER_KEEPALIVE_MS,
  HTTP_SERVER_SILENCE_MS_MAX,
  HTTP_WINDOW_BYTES,
  HTTP_WRITE_BUFFER_BYTES,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { Metric } from '../../support/metrics.ts'
import { warnIfOpen } from '../listen/exposure.ts'
import { type ListenEndpoint, parseListenAddress } from '../listen/listen-address.ts'
import { type Listener, type ListenSettings, startListeners } from '../listen/listener.ts'
import { createTlsAcceptor } from '../listen/tls.ts'
import type { Tokens } from '../listen/tokens.ts'
import type { AccessRules } from './access.ts'
import type { HttpHandler } from './exchange.ts'
import { protocolOf } from './protocol.ts'
import type { ReplyStream } from './reply-writer.ts'
import type { RequestStream } from './request-body.ts'
import { RequestMetrics } from './request-metrics.ts'
import { RunningRequest } from './running-request.ts'

export interface HttpServerParts {
  readonly handler: HttpHandler
  readonly logger: Logger
  /** For what comes in by TCP (`loadServerTls`); unix sockets stay in the clear, the kernel guards them. */
  readonly tls?: TlsOptions | undefined
  /** With them every request needs one, on every listener. */
  readonly tokens?: Tokens | undefined
  /** With tokens: reading needs none. */
  readonly anonymousRead?: boolean
  /** The handler answers questions only. */
  readonly isReadOnly?: boolean
}

export interface HttpServer {
  readonly metrics: readonly Metric[]
  /** Serves on one more address (see `parseListenAddress`) and resolves with where that is. */
  listen(address: string, settings?: ListenSettings): Promise<string>
  /** Takes no more connections and requests, waits for those that run, and cuts what is left after `deadlineMs`. */
  shutdown(deadlineMs: number): Promise<void>
}

/** HTTP/1.1 and HTTP/2, with TLS and without, on the same port. */
export function createHttpServer(parts: HttpServerParts): HttpServer {
  return new OpenHttpServer(parts)
}

class OpenHttpServer implements HttpServer {
  readonly #parts: HttpServerParts
  readonly #requests = new RequestMetrics()
  readonly #faults: FaultLog
  readonly #listeners: Listener[] = []
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<ServerHttp2Session>()
  #isStopping = false
  #onIdle: (() => void) | undefined

  constructor(parts: HttpServerParts) {
    this.#parts = parts
    this.#faults = new FaultLog(parts.logger)
  }

  get metrics(): readonly Metric[] {
    return this.#requests.all
  }

  async listen(address: string, settings: ListenSettings = {}): Promise<string> {
    const endpoint = parseListenAddress(address)
    const plain = this.#acceptor(endpoint)
    const secure = this.#secured(endpoint, plain)
    const listeners = await startListeners(endpoint, settings, {
      onSocket: (socket, { isTcp }) => {
        if (isTcp) socket.setNoDelay(true)
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
        // It ends whatever runs on it, where that is seen; here it only must not end the process.
        socket.on('error', () => {})
        ;(isTcp ? secure : plain)(socket)
      },
      onError: (error) =>
        this.#faults.warn({ listener: endpoint.text, reason: error.message }, 'cannot accept'),
    })
    this.#listeners.push(...listeners)
    for (const listener of listeners) warnIfOpen(listener, endpoint, this.#parts, this.#parts.logger)
    return listeners.map((listener) => listener.address).join(', ')
  }

  async shutdown(deadlineMs: number): Promise<void> {
    this.#isStopping = true
    for (const listener of this.#listeners) listener.close()
    for (const session of this.#sessions) session.close()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#onIdle = resolve
    const timer = setTimeout(resolve, deadlineMs)
    if (this.#requests.running === 0) resolve()
    await promise
    clearTimeout(timer)
    const { running } = this.#requests
    if (running > 0) this.#parts.logger.warn({ requests: running }, 'cutting requests that still run')
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets)
      if (running > 0) socket.destroy()
      else socket.destroySoon()
  }

  /** Serves connections under the rules of one listener. */
  #acceptor({ text, roles }: ListenEndpoint): (socket: Socket) => void {
    const { tokens, anonymousRead = false } = this.#parts
    const rules: AccessRules = { listener: text, roles, tokens, anonymousRead, faults: this.#faults }
    const http1 = this.#http1(rules)
    const http2 = this.#http2(rules)
    return async (socket) => {
      const { alpnProtocol } = socket as Partial<TLSSocket>
      const protocol = alpnProtocol || (await protocolOf(socket))
      if (protocol) (protocol === 'h2' ? http2 : http1).emit('connection', socket)
    }
  }

  #http1(rules: AccessRules): Server {
    const server = createServer({
      maxHeaderSize: HTTP_HEADER_BYTES_MAX,
      headersTimeout: HTTP_SERVER_HEADERS_MS_MAX,
      // An upload takes as long as it takes; only silence ends it.
      requestTimeout: 0,
      keepAliveTimeout: HTTP_SERVER_KEEPALIVE_MS,
      highWaterMark: HTTP_WRITE_BUFFER_BYTES,
    })
    server.timeout = HTTP_SERVER_SILENCE_MS_MAX
    server.on('request', (request, reply) => this.#serve(rules, request, reply, false))
    server.on('checkContinue', (request, reply) => this.#serve(rules, request, reply, true))
    // What Node does when a server of its own begins to listen: only now it looks for headers that do not end.
    server.emit('listening')
    this.#servers.push(server)
    return server
  }

  #http2(rules: AccessRules): Http2Server {
    const server = createHttp2Server({
      settings: { initialWindowSize: HTTP_WINDOW_BYTES, maxHeaderListSize: HTTP_HEADER_BYTES_MAX },
    })
    server.setTimeout(HTTP_SERVER_SILENCE_MS_MAX)
    server.on('session', (session) => {
      session.setLocalWindowSize(HTTP_WINDOW_BYTES)
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
      if (this.#isStopping) session.close()
    })
    // Where it shows is the request that it ends.
    server.on('sessionError', () => {})
    server.on('request', (request, reply) => this.#serve(rules, request, reply, false))
    server.on('checkContinue', (request, reply) => this.#serve(rules, request, reply, true))
    return server
  }

  async #serve(
    rules: AccessRules,
    request: RequestStream,
    reply: ReplyStream,
    expectsContinue: boolean,
  ): Promise<void> {
    const { handler, logger } = this.#parts
    if (this.#isStopping && !('stream' in reply)) reply.setHeader('connection', 'close')
    const context = { handler, logger, metrics: this.#requests }
    await new RunningRequest({ request, reply, expectsContinue }, rules, context).run()
    if (this.#requests.running === 0) this.#onIdle?.()
  }

  #secured({ text }: ListenEndpoint, accept: (socket: Socket) => void): (socket: Socket) => void {
    if (!this.#parts.tls) return accept
    const options = { ...this.#parts.tls, ALPNProtocols: ['h2', 'http/1.1'] }
    const onFault = (reason: string, peer: string | undefined) =>
      this.#faults.warn({ listener: text, peer, reason }, 'a TLS handshake failed')
    return createTlsAcceptor(options, { onSecure: accept, onFault })
  }
}
