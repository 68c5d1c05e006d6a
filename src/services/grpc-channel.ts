import { Channel, type ChannelOptions, connectivityState, type Metadata } from '@grpc/grpc-js'
import { FAMILIES, type Family, methodPath, type RpcService, serviceName } from '../model/wire/rpc.ts'
import { blobRpc, directoryRpc, pathInfoRpc } from '../model/wire/services.ts'
import type { Call } from '../support/call.ts'
import { SingleFlight } from '../support/concurrency.ts'
import { type ErrorCode, StoreError } from '../support/errors.ts'
import {
  GRPC_CONNECT_MS_MAX,
  GRPC_KEEPALIVE_MS,
  GRPC_KEEPALIVE_TIMEOUT_MS,
  GRPC_RECEIVE_BYTES_MAX,
  GRPC_RECONNECT_MS_MAX,
  GRPC_RECONNECT_MS_MIN,
  GRPC_WINDOW_BYTES,
} from '../support/limits.ts'
import { withoutSecrets } from '../support/secrets.ts'
import { parseGrpcAddress } from './grpc-address.ts'
import { GrpcCall } from './grpc-call.ts'
import { Circuit } from './grpc-circuit.ts'
import { callCredentials, channelCredentials } from './grpc-credentials.ts'
import { replaceFrameDecoder } from './grpc-frames.ts'
import { DEFAULT_GRPC_POLICY, type GrpcPolicy } from './grpc-policy.ts'

replaceFrameDecoder()

const OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': GRPC_RECEIVE_BYTES_MAX,
  'grpc.max_send_message_length': -1,
  // Messages go to the transport at once, so that a sent one has left; calls are repeated by retryUnavailable.
  'grpc.per_rpc_retry_buffer_size': 0,
  'grpc-node.flow_control_window': GRPC_WINDOW_BYTES,
  'grpc.keepalive_time_ms': GRPC_KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': GRPC_KEEPALIVE_TIMEOUT_MS,
  'grpc.initial_reconnect_backoff_ms': GRPC_RECONNECT_MS_MIN,
  'grpc.max_reconnect_backoff_ms': GRPC_RECONNECT_MS_MAX,
  // Stores live on local networks and sockets; a proxy meant for the web has no business in between.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
}

/**
 * Uploads have a connection of their own. While a Node process waits for a socket to take its HTTP/2 frames it
 * reads none from that socket; two of them with bulk in both directions would wait for each other for ever.
 */
const UPLOAD_OPTIONS: ChannelOptions = { ...OPTIONS, 'grpc.use_local_subchannel_pool': 1 }

export interface StartOptions extends Call {
  /** How long the peer may stay silent, in milliseconds. */
  readonly patienceMs?: number
}

/** A connection to a gRPC peer that makes and remakes itself. */
export interface GrpcChannel {
  readonly address: string
  readonly policy: GrpcPolicy
  /** Whether the peer is held for dead: then calls fail at once, and to repeat them is of no use. */
  readonly isDown: boolean
  /** Whether the peer was there, does not answer, and is worth being waited for. */
  readonly isMissed: boolean
  /** Starts a call under the name that the peer knows the service by. */
  start(service: RpcService, method: string, options?: StartOptions): Promise<GrpcCall>
  close(): void
}

/**
 * Opens a channel to an address of spec §2.7. It connects on first use, or at once with `wait-connect=1`; then
 * it throws `unavailable` when nobody answers. Throws `invalid-argument` for an address that is none.
 */
export async function openGrpcChannel(
  address: string,
  policy: Partial<GrpcPolicy> = {},
): Promise<GrpcChannel> {
  const { text, target, tls, tokenFile, waitConnect } = parseGrpcAddress(address)
  const security = channelCredentials(tls)
  const channel = new PeerChannel(
    withoutSecrets(text),
    callCredentials(tokenFile),
    new Channel(target, security, OPTIONS),
    new Channel(target, security, UPLOAD_OPTIONS),
    { ...DEFAULT_GRPC_POLICY, ...policy },
  )
  if (waitConnect) {
    try {
      await channel.connect()
    } catch (error) {
      channel.close()
      throw error
    }
  }
  return channel
}

/** Requests that every server refuses without doing anything: their digests have no bytes. */
const PROBES: Readonly<Record<string, { method: string; request: Uint8Array }>> = {
  [blobRpc.name]: {
    method: 'Stat',
    request: blobRpc.methods.Stat.request.encode({ digest: new Uint8Array(0), sendChunks: false }),
  },
  [directoryRpc.name]: {
    method: 'Get',
    request: directoryRpc.methods.Get.request.encode({ digest: new Uint8Array(0), recursive: false }),
  },
  [pathInfoRpc.name]: {
    method: 'Get',
    request: pathInfoRpc.methods.Get.request.encode(new Uint8Array(0)),
  },
}

/** Failures of a probe that say nothing about whether the service exists. */
const NO_ANSWER: ReadonlySet<ErrorCode> = new Set([
  'unavailable',
  'deadline',
  'exhausted',
  'denied',
  'cancelled',
])

/** What a health check ends with when there is no connection, or one that lets nobody in. */
const NO_CONNECTION: ReadonlySet<ErrorCode> = new Set(['unavailable', 'deadline', 'denied'])

class PeerChannel implements GrpcChannel {
  readonly address: string
  readonly policy: GrpcPolicy
  readonly #credentials: Metadata
  readonly #channel: Channel
  readonly #uploads: Channel
  /** By service name, once the peer has answered. */
  readonly #families = new Map<string, Family>()
  readonly #probes = new SingleFlight<string, Family>()
  readonly #circuit: Circuit
  #closed = false

  constructor(
    address: string,
    credentials: Metadata,
    channel: Channel,
    uploads: Channel,
    policy: GrpcPolicy,
  ) {
    this.address = address
    this.#credentials = credentials
    this.policy = policy
    this.#channel = channel
    this.#uploads = uploads
    this.#circuit = new Circuit(policy, () => channel.getConnectivityState(true) === connectivityState.READY)
  }

  get isDown(): boolean {
    return this.#circuit.isOpen
  }

  get isMissed(): boolean {
    return this.#circuit.isMissed
  }

  async start(service: RpcService, method: string, options?: StartOptions): Promise<GrpcCall> {
    const family = await this.#family(service, options)
    const { kind, response } = service.methods[method]!
    return this.#open(methodPath(family, service, method), options, {
      isUpload: kind === 'client-stream',
      inPieces: response.decodeParts !== undefined,
    })
  }

  /** Any answer will do, and a health check gets one from every server. */
  async connect(): Promise<void> {
    const call = this.#open('/grpc.health.v1.Health/Check', { patienceMs: GRPC_CONNECT_MS_MAX })
    const failure = await this.#ask(call, new Uint8Array(0))
    if (failure && NO_CONNECTION.has(failure.code)) throw failure
  }

  close(): void {
    this.#closed = true
    this.#channel.close()
    this.#uploads.close()
  }

  #open(
    path: string,
    options: StartOptions = {},
    { isUpload, inPieces } = { isUpload: false, inPieces: false },
  ): GrpcCall {
    const { signal, traceparent, patienceMs = this.policy.patienceMs } = options
    const what = `${this.address}: ${path.slice(1)}`
    if (this.#closed) throw new StoreError('cancelled', `${what}: the connection was closed`)
    this.#circuit.admit(what)
    const channel = isUpload ? this.#uploads : this.#channel
    const raw = channel.createCall(path, Number.POSITIVE_INFINITY, null, null, null)
    const metadata = this.#credentials.clone()
    return new GrpcCall(raw, {
      what,
      patienceMs,
      isUpload,
      inPieces,
      signal,
      metadata,
      traceparent,
      observer: this.#circuit,
    })
  }

  async #family(service: RpcService, call?: Call): Promise<Family> {
    const known = this.#families.get(service.name)
    if (known) return known
    const found = await this.#probes.run(service.name, (shared) => this.#probe(service, shared), call)
    this.#families.set(service.name, found)
    return found
  }

  /** Which of the two names the peer answers to (spec §1.13): the first that is not UNIMPLEMENTED. */
  async #probe(service: RpcService, shared: Call): Promise<Family> {
    const { method, request } = PROBES[service.name]!
    for (const family of FAMILIES) {
      const failure = await this.#ask(this.#open(methodPath(family, service, method), shared), request)
      if (failure && NO_ANSWER.has(failure.code)) throw failure
      if (failure?.code !== 'unimplemented') return family
    }
    const names = FAMILIES.map((family) => serviceName(family, service)).join(' nor ')
    throw new StoreError('unimplemented', `${this.address} serves neither ${names}`)
  }

  /** Makes a call for the sake of its status. */
  async #ask(call: GrpcCall, request: Uint8Array): Promise<StoreError | undefined> {
    try {
      await call.send([request])
      call.halfClose()
      while (await call.receive()) {}
      return undefined
    } catch (error) {
      return StoreError.from(error)
    }
  }
}
