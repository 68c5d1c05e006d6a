import { type Channel, type Metadata, type StatusObject, status } from '@grpc/grpc-js'
import { view } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { GRPC_CANCEL_MS_MAX } from '../support/limits.ts'
import { errorOfStatus } from './grpc-status.ts'

type RawCall = ReturnType<Channel['createCall']>

export interface CallTraits {
  /** Address and procedure, for messages. */
  readonly what: string
  /** How long the peer may stay silent while we wait for it. */
  readonly patienceMs: number
  /** Whether our messages are pieces of one thing, of which a part must not pass for the whole. */
  readonly isUpload: boolean
  readonly signal: AbortSignal | undefined
  /** Sent with the call. */
  readonly metadata: Metadata
}

/** A varint without its end. */
const NO_PROTOBUF = Buffer.from([0xff])

/**
 * One call on a channel, message by message: a message is fetched only when it is asked for and sent only when
 * the transport takes it, so a slow side slows the other and nothing piles up in between.
 *
 * Send one message at a time and receive one at a time; the two directions are independent.
 */
export class GrpcCall {
  /** Address and procedure, for messages. */
  readonly what: string
  readonly #raw: RawCall
  readonly #patienceMs: number
  readonly #signal: AbortSignal | undefined
  readonly #isUpload: boolean
  #halfClosed = false
  #spoiling: NodeJS.Timeout | undefined
  #ending: 'ok' | StoreError | undefined
  #receiver: PromiseWithResolvers<Uint8Array | undefined> | undefined
  #sender: PromiseWithResolvers<void> | undefined

  constructor(raw: RawCall, traits: CallTraits) {
    this.what = traits.what
    this.#raw = raw
    this.#patienceMs = traits.patienceMs
    this.#isUpload = traits.isUpload
    this.#signal = traits.signal
    raw.start(traits.metadata, {
      onReceiveMetadata: () => {},
      onReceiveMessage: (message: Uint8Array) => this.#receiver?.resolve(message),
      onReceiveStatus: (end) => this.#onStatus(end),
    })
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (this.#signal?.aborted) this.#onAbort()
  }

  /** Resolves when the transport has taken the message. Throws what the call ended with. */
  async send(message: Uint8Array): Promise<void> {
    this.#throwIfFailed()
    if (this.#ending === 'ok')
      throw new StoreError('internal', `${this.what}: answered before everything was sent`)
    const sender = Promise.withResolvers<void>()
    this.#sender = sender
    this.#raw.sendMessageWithContext({ callback: () => sender.resolve() }, view(message))
    await this.#wait(sender.promise)
  }

  /** Nothing more will be sent. */
  halfClose(): void {
    if (this.#ending) return
    this.#halfClosed = true
    this.#raw.halfClose()
  }

  /** The next message; `undefined` when the call has ended well. Throws what it ended with otherwise. */
  async receive(): Promise<Uint8Array | undefined> {
    this.#throwIfFailed()
    if (this.#ending === 'ok') return undefined
    const receiver = Promise.withResolvers<Uint8Array | undefined>()
    this.#receiver = receiver
    this.#raw.startRead()
    return this.#wait(receiver.promise)
  }

  /** The only message of the answer. */
  async receiveOnly(): Promise<Uint8Array> {
    const message = await this.receive()
    if (!message) throw new StoreError('corrupt', `${this.what}: answered without a message`)
    if (await this.receive()) {
      this.cancel()
      throw new StoreError('corrupt', `${this.what}: answered with more than one message`)
    }
    return message
  }

  /** Ends the call for both sides; harmless when it has ended. */
  cancel(): void {
    this.#fail(new StoreError('cancelled', `${this.what}: cancelled`))
  }

  readonly #onAbort = () => this.#fail(StoreError.from(this.#signal?.reason))

  async #wait<T>(step: Promise<T>): Promise<T> {
    const seconds = this.#patienceMs / 1000
    const timer = setTimeout(
      () => this.#fail(new StoreError('deadline', `${this.what}: no answer within ${seconds} s`)),
      this.#patienceMs,
    )
    try {
      return await step
    } finally {
      clearTimeout(timer)
    }
  }

  #fail(error: StoreError): void {
    if (this.#ending) return
    this.#end(error)
    const cancel = () => this.#raw.cancelWithStatus(status.CANCELLED, error.message)
    if (this.#isUpload && !this.#halfClosed) this.#spoil(cancel)
    else cancel()
  }

  /**
   * Node ends a stream in good order before it resets it, so the server of an upload that is cancelled might take
   * what it has for everything. A last message that is no protobuf rules that out; the server refuses it, which
   * ends the call. If it does not take it in time it has not taken the end either, and cancelling is safe.
   */
  #spoil(cancel: () => void): void {
    this.#raw.sendMessageWithContext({}, NO_PROTOBUF)
    this.#spoiling = setTimeout(cancel, GRPC_CANCEL_MS_MAX)
    this.#spoiling.unref()
  }

  #onStatus(end: StatusObject): void {
    clearTimeout(this.#spoiling)
    this.#end(end.code === status.OK ? 'ok' : errorOfStatus(end, this.what))
  }

  #end(ending: 'ok' | StoreError): void {
    if (this.#ending) return
    this.#ending = ending
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (ending === 'ok') {
      this.#receiver?.resolve(undefined)
      this.#sender?.resolve()
    } else {
      this.#receiver?.reject(ending)
      this.#sender?.reject(ending)
    }
  }

  #throwIfFailed(): void {
    if (this.#ending instanceof StoreError) throw this.#ending
  }
}
