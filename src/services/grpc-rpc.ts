/** The three kinds of procedures, typed by the tables of model/wire, on top of single calls. */
import { ValidationError } from '../model/castore/validation-error.ts'
import type { AnyMethod, Codec, Method, RpcService } from '../model/wire/rpc.ts'
import type { Call } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { GRPC_RECONNECT_MS_MAX } from '../support/limits.ts'
import { jittered, pause } from '../support/pause.ts'
import { type GrpcCall, joined, type Message } from './grpc-call.ts'
import type { GrpcChannel, StartOptions } from './grpc-channel.ts'

type RequestOf<M> = M extends Method<infer _K, infer Q, infer _R> ? Q : never
type ResponseOf<M> = M extends Method<infer _K, infer _Q, infer R> ? R : never

/** One request, one response. */
export async function callUnary<S extends RpcService, N extends keyof S['methods'] & string>(
  channel: GrpcChannel,
  service: S,
  name: N,
  request: RequestOf<S['methods'][N]>,
  options?: StartOptions,
): Promise<ResponseOf<S['methods'][N]>> {
  const method = service.methods[name] as AnyMethod
  const call = await sendRequest(channel, service, name, request, options)
  const message = await call.receiveOnly()
  return decodeFrom(call, () => method.response.decode(message)) as ResponseOf<S['methods'][N]>
}

export interface MessageIterator<T> extends AsyncIterableIterator<T> {
  /** What `next` would give at once; `undefined` when it has to wait. */
  ready(): T | undefined
}

/**
 * One request, any number of responses. Resolves when the first of them is there (or the end is), so that
 * whatever a server refuses is thrown here and not later. Leaving the loop cancels the call.
 */
export async function callServerStream<S extends RpcService, N extends keyof S['methods'] & string>(
  channel: GrpcChannel,
  service: S,
  name: N,
  request: RequestOf<S['methods'][N]>,
  options?: StartOptions,
): Promise<MessageIterator<ResponseOf<S['methods'][N]>>> {
  const method = service.methods[name] as AnyMethod
  const call = await sendRequest(channel, service, name, request, options)
  const first = await call.receive()
  return new MessageStream(call, method.response as Codec<ResponseOf<S['methods'][N]>>, first)
}

async function sendRequest(
  channel: GrpcChannel,
  service: RpcService,
  name: string,
  request: unknown,
  options: StartOptions | undefined,
): Promise<GrpcCall> {
  const call = await channel.start(service, name, options)
  await call.send([service.methods[name]!.request.encode(request)])
  call.halfClose()
  return call
}

class MessageStream<T> implements MessageIterator<T> {
  readonly #call: GrpcCall
  readonly #codec: Codec<T>
  #first: Message | undefined
  /** What the last message holds, and how much of that was handed on. */
  #decoded: readonly T[] = []
  #taken = 0

  constructor(call: GrpcCall, codec: Codec<T>, first: Message | undefined) {
    this.#call = call
    this.#codec = codec
    this.#first = first
  }

  [Symbol.asyncIterator]() {
    return this
  }

  ready(): T | undefined {
    return this.#taken < this.#decoded.length ? this.#decoded[this.#taken++] : undefined
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.#taken === this.#decoded.length) {
      const message = this.#first ?? (await this.#call.receiveMore())
      this.#first = undefined
      if (!message) return { done: true, value: undefined }
      this.#decoded = decodeFrom(this.#call, () => this.#decode(message))
      this.#taken = 0
    }
    return { done: false, value: this.#decoded[this.#taken++]! }
  }

  #decode(message: Message): readonly T[] {
    return this.#codec.decodeParts?.(message) ?? [this.#codec.decode(joined(message))]
  }

  async return(): Promise<IteratorResult<T>> {
    this.#first = undefined
    this.#decoded = []
    this.#taken = 0
    this.#call.cancel()
    return { done: true, value: undefined }
  }
}

/** Any number of requests, one response. The call starts with the first request, and at `finish` at the latest. */
export class Upload<Request, Response> {
  readonly #start: () => Promise<GrpcCall>
  readonly #method: Method<'client-stream', Request, Response>
  #call: Promise<GrpcCall> | undefined
  #cancelled = false
  #response: Promise<Response> | undefined

  constructor(start: () => Promise<GrpcCall>, method: Method<'client-stream', Request, Response>) {
    this.#start = start
    this.#method = method
  }

  /** Resolves when the transport wants more. Throws what the server ended the call with. */
  async send(request: Request): Promise<void> {
    const call = await this.#open()
    const { request: codec } = this.#method
    await call.send(codec.encodeParts?.(request) ?? [codec.encode(request)])
  }

  /** The server's answer to everything that was sent. Asking again gives the same answer. */
  finish(): Promise<Response> {
    this.#response ??= this.#finish()
    return this.#response
  }

  /** Gives up; harmless after `finish` has succeeded. */
  async cancel(): Promise<void> {
    this.#cancelled = true
    // A call that never started needs no cancelling, and its failure was thrown from `send`.
    const call = await this.#call?.catch(() => undefined)
    call?.cancel()
  }

  async #open(): Promise<GrpcCall> {
    if (this.#cancelled) throw new StoreError('cancelled', 'the upload was given up')
    this.#call ??= this.#start()
    return this.#call
  }

  async #finish(): Promise<Response> {
    const call = await this.#open()
    call.halfClose()
    const message = await call.receiveOnly()
    return decodeFrom(call, () => this.#method.response.decode(message))
  }
}

function decodeFrom<T>(call: GrpcCall, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    call.cancel()
    if (!(error instanceof ValidationError)) throw error
    throw new StoreError('corrupt', `${call.what}: invalid answer: ${error.message}`, { cause: error })
  }
}

/**
 * Runs a read, and again after a pause while its peer is unavailable, but not dead. For calls that change nothing
 * and have handed out nothing yet.
 */
export async function retryUnavailable<T>(
  channel: GrpcChannel,
  read: () => Promise<T>,
  call?: Call,
): Promise<T> {
  const { retryMs } = channel.policy
  for (let attempt = 0; ; attempt++) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'unavailable' || channel.isDown) throw error
      if (attempt >= retryMs.length && !channel.isMissed) throw error
    }
    await pause(jittered(retryMs[attempt] ?? GRPC_RECONNECT_MS_MAX), call?.signal)
  }
}

/** Absence as a value, for the procedures whose NOT_FOUND means that and nothing else. */
export async function absentIfNotFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof StoreError && error.code === 'not-found') return undefined
    throw error
  }
}
