import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { experimental, Server, ServerCredentials } from '@grpc/grpc-js'
import { HealthImplementation } from 'grpc-health-check'
import { FAMILIES, type RpcService, serviceName } from '../../model/wire/rpc.ts'
import { blobRpc, directoryRpc, pathInfoRpc } from '../../model/wire/services.ts'
import type { BlobService } from '../../services/blobs/interface.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import { replaceFrameDecoder } from '../../services/grpc-frames.ts'
import type { NarCalculation, PathInfoService } from '../../services/pathinfos/interface.ts'
import { FaultLog } from '../../support/fault-log.ts'
import { GRPC_KEEPALIVE_MS, GRPC_KEEPALIVE_TIMEOUT_MS, GRPC_RECEIVE_BYTES_MAX } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { Metric } from '../../support/metrics.ts'
import { warnIfOpen } from '../listen/exposure.ts'
import { type ListenEndpoint, parseListenAddress } from '../listen/listen-address.ts'
import { type Listener, type ListenSettings, startListeners } from '../listen/listener.ts'
import { createTlsAcceptor } from '../listen/tls.ts'
import type { Tokens } from '../listen/tokens.ts'
import { accessInterceptor } from './access.ts'
import { AnswerStreams } from './backpressure.ts'
import { blobHandlers } from './blob-handlers.ts'
import { CallLimits, type CallLimitValues } from './call-limits.ts'
import { CallMetrics } from './call-metrics.ts'
import { directoryHandlers } from './directory-handlers.ts'
import { encodingInterceptor, widenWindows } from './grpc-js-internals.ts'
import { defineService, type Handlers, implementService } from './method-adapter.ts'
import { pathInfoHandlers } from './path-info-handlers.ts'
import { addReflection } from './reflection.ts'
import type { CallContext } from './running-call.ts'

export interface GrpcServerParts {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  /** Without them only blobs and directories are served. */
  readonly pathInfos?: PathInfoService
  readonly narCalculation?: NarCalculation
  readonly logger: Logger
  /** Those that differ from the defaults. */
  readonly limits?: Partial<CallLimitValues>
  /** For what comes in by TCP (`loadServerTls`); unix sockets stay in the clear, the kernel guards them. */
  readonly tls?: TlsOptions | undefined
  /** With them, every call but a health check needs one, on every listener. */
  readonly tokens?: Tokens | undefined
}

export interface GrpcServer {
  /** What is counted of its calls. */
  readonly metrics: readonly Metric[]
  /**
   * Serves on one more address (see `parseListenAddress`) and resolves with where that is, several places with
   * commas between them.
   */
  listen(address: string, settings?: ListenSettings): Promise<string>
  /**
   * Takes no more connections and calls, waits for those that run, and cuts what is left after `deadlineMs`
   * milliseconds. Resolves when nothing is open any more.
   */
  shutdown(deadlineMs: number): Promise<void>
}

/** The services of spec §1 under the names of both families, health checks and reflection. */
export function createGrpcServer(parts: GrpcServerParts): GrpcServer {
  return new StoreServer(parts)
}

replaceFrameDecoder()

const OPTIONS = {
  'grpc.max_receive_message_length': GRPC_RECEIVE_BYTES_MAX,
  'grpc.max_send_message_length': -1,
  'grpc.keepalive_time_ms': GRPC_KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': GRPC_KEEPALIVE_TIMEOUT_MS,
}

class StoreServer implements GrpcServer {
  readonly #logger: Logger
  readonly #calls: CallContext
  readonly #callMetrics = new CallMetrics()
  readonly #server = new Server(OPTIONS)
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #listeners: Listener[] = []
  readonly #health = new HealthImplementation({ '': 'SERVING' })
  /** Full names. */
  readonly #services: string[] = []
  readonly #faults: FaultLog
  readonly #tls: TlsOptions | undefined
  readonly #tokens: Tokens | undefined

  constructor(parts: GrpcServerParts) {
    const { blobs, directories, pathInfos, narCalculation, logger, limits, tls, tokens } = parts
    this.#logger = logger
    this.#calls = {
      logger,
      limits: new CallLimits(limits),
      answers: new AnswerStreams(),
      metrics: this.#callMetrics,
    }
    this.#faults = new FaultLog(logger)
    this.#tls = tls
    this.#tokens = tokens
    this.#serve(blobRpc, blobHandlers(blobs))
    this.#serve(directoryRpc, directoryHandlers(directories))
    if (pathInfos && narCalculation) this.#serve(pathInfoRpc, pathInfoHandlers(pathInfos, narCalculation))
    this.#health.addToServer(this.#server)
    addReflection(this.#server, this.#services)
    widenWindows(this.#server, (session) => this.#trackSession(session))
  }

  get metrics(): readonly Metric[] {
    return this.#callMetrics.all
  }

  async listen(address: string, settings: ListenSettings = {}): Promise<string> {
    const endpoint = parseListenAddress(address)
    const plain = this.#acceptor(endpoint)
    const secure = this.#secured(endpoint, plain)
    const listeners = await startListeners(endpoint, settings, {
      onSocket: (socket, { isTcp }) => (isTcp ? secure : plain)(socket),
      onError: (error) =>
        this.#faults.warn({ listener: endpoint.text, reason: error.message }, 'cannot accept'),
    })
    this.#listeners.push(...listeners)
    const guards = { tls: this.#tls, tokens: this.#tokens }
    for (const listener of listeners) warnIfOpen(listener, endpoint, guards, this.#logger)
    return listeners.map((listener) => listener.address).join(', ')
  }

  async shutdown(deadlineMs: number): Promise<void> {
    // First of all, so that load balancers stop sending calls here.
    for (const name of ['', ...this.#services]) this.#health.setStatus(name, 'NOT_SERVING')
    for (const listener of this.#listeners) listener.close()
    const ended = [...this.#sessions].map(closeSession)
    const timer = setTimeout(() => this.#cut(), deadlineMs)
    await Promise.all(ended)
    clearTimeout(timer)
    this.#server.forceShutdown()
  }

  #serve<S extends RpcService>(service: S, handlers: Handlers<S>): void {
    const implementation = implementService(service, handlers, this.#calls)
    for (const family of FAMILIES) {
      this.#server.addService(defineService(family, service), implementation)
      const name = serviceName(family, service)
      this.#services.push(name)
      this.#health.setStatus(name, 'SERVING')
    }
  }

  /** Serves connections under the rules of one listener. */
  #acceptor({ text, roles }: ListenEndpoint): (socket: Socket) => void {
    const access = accessInterceptor({ listener: text, roles, tokens: this.#tokens, faults: this.#faults })
    const credentials = ServerCredentials.createInsecure()
    const injector = this.#server.createConnectionInjector(
      experimental.createServerCredentialsWithInterceptors(credentials, [encodingInterceptor, access]),
    )
    return (socket) => injector.injectConnection(socket)
  }

  #secured({ text }: ListenEndpoint, accept: (socket: Socket) => void): (socket: Socket) => void {
    if (!this.#tls) return accept
    const onFault = (reason: string, peer: string | undefined) =>
      this.#faults.warn({ listener: text, peer, reason }, 'a TLS handshake failed')
    return createTlsAcceptor(this.#tls, { onSecure: accept, onFault })
  }

  #trackSession(session: ServerHttp2Session): void {
    this.#sessions.add(session)
    session.once('close', () => this.#sessions.delete(session))
  }

  #cut(): void {
    this.#logger.warn({ connections: this.#sessions.size }, 'cutting connections that are still busy')
    for (const session of this.#sessions) session.destroy()
  }
}

/** Resolves when its calls are done and it is closed, well or with an error. */
function closeSession(session: ServerHttp2Session): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  session.once('close', resolve)
  session.close()
  return promise
}
