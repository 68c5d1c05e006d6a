import { type Channel, type Metadata, type StatusObject, status } from '@grpc/grpc-js'
import { concatBytes, view } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { GRPC_CANCEL_MS_MAX, GRPC_RECEIVE_BYTES_MAX } from '../support/limits.ts'
import { writeFrame } from './grpc-frames.ts'
import { RECEIVE_LIMIT_HEADER, TRACEPARENT_HEADER } from './grpc-headers.ts'
import { type PieceDecoder, receiveInPieces, streamOf } from './grpc-pieces.ts'
import { errorOfStatus } from './grpc-status.ts'

type RawCall = ReturnType<Channel['createCall']>

/** The bytes of one message, in one piece or more. */
export type Message = readonly Uint8Array[]

/** A message in one piece. */
export function joined(message: Message): Uint8Array {
  return message.length === 1 ? message[0]! : concatBytes(message)
}

/** Learns from each call whether the peer is alive. */
export interface CallObserver {
  /** The peer gave a sign of life. */
  answered(): void
  /** The call ended without an answer of the peer. */
  unanswered(failure: StoreError): void
}

export interface CallTraits {
  /** Address and procedure, for messages. */
  readonly what: string
  /** How long the peer may stay silent while we wait for it. */
  readonly patienceMs: number
  /** Whether our messages are pieces of one thing, of which a part must not pass for the whole. */
  readonly isUpload: boolean
  /** Whether messages are received in pieces, without a copy. */
  readonly inPieces: boolean
  readonly signal: AbortSignal | undefined
  readonly observer: CallObserver
  /** Sent with the call. */
  readonly metadata: Metadata
  readonly traceparent: string | undefined
}

/** What every call says of us, besides what this one says. */
function headers({ metadata, traceparent }: CallTraits): Metadata {
  metadata.set(RECEIVE_LIMIT_HEADER, String(GRPC_RECEIVE_BYTES_MAX))
  if (traceparent) metadata.set(TRACEPARENT_HEADER, traceparent)
  return metadata
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
  readonly #observer: CallObserver
  #hasSent = false
  #halfClosed = false
  #spoiling: NodeJS.Timeout | undefined
  /** Runs since the last wait began. */
  #timer: NodeJS.Timeout | undefined
  /** Directions in which we wait for the peer. */
  #waiting = 0
  #ending: 'ok' | StoreError | undefined
  #receiver: PromiseWithResolvers<Message | undefined> | undefined
  #pieces: PieceDecoder | undefined
  #sender: PromiseWithResolvers<void> | undefined

  constructor(raw: RawCall, traits: CallTraits) {
    this.what = traits.what
    this.#raw = raw
    this.#patienceMs = traits.patienceMs
    this.#isUpload = traits.isUpload
    this.#signal = traits.signal
    this.#observer = traits.observer
    raw.start(headers(traits), {
      onReceiveMetadata: () => this.#onHeaders(traits.inPieces),
      onReceiveMessage: (message: Buffer) =>
        this.#receiver?.resolve(this.#pieces?.take(message) ?? [message]),
      onReceiveStatus: (end) => this.#onStatus(end),
    })
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (this.#signal?.aborted) this.#onAbort()
  }

  /** Resolves when the transport has taken the message; until then it must not change. Throws what the call ended with. */
  async send(message: Message): Promise<void> {
    this.#throwIfFailed()
    if (this.#ending === 'ok')
      throw new StoreError('internal', `${this.what}: answered before everything was sent`)
    const sender = Promise.withResolvers<void>()
    this.#sender = sender
    if (this.#hasSent) this.#sendPast(message, sender)
    else this.#raw.sendMessageWithContext({ callback: () => sender.resolve() }, view(joined(message)))
    this.#hasSent = true
    await this.#wait(sender.promise)
  }

  /** All messages but the first go past grpc-js: one that is alone is small, and the others are the bulk of a blob. */
  #sendPast(message: Message, sender: PromiseWithResolvers<void>): void {
    const stream = streamOf(this.#raw)
    // A stream that has failed is the matter of grpc-js, which ends the call with a status.
    if (!stream.destroyed && !stream.writableEnded)
      writeFrame(stream, message, (error) => {
        if (!error) sender.resolve()
      })
  }

  /** Nothing more will be sent. */
  halfClose(): void {
    if (this.#ending) return
    this.#halfClosed = true
    this.#raw.halfClose()
  }

  /** The next message; `undefined` when the call has ended well. Throws what it ended with otherwise. */
  async receive(): Promise<Message | undefined> {
    this.#throwIfFailed()
    if (this.#ending === 'ok') return undefined
    const receiver = Promise.withResolvers<Message | undefined>()
    this.#receiver = receiver
    this.#raw.startRead()
    return this.#wait(receiver.promise)
  }

  /** The only message of the answer. */
  async receiveOnly(): Promise<Uint8Array> {
    const message = await this.receive()
    if (!message) throw new StoreError('corrupt', `${this.what}: answered without a message`)
    if (await this.receiveMore()) {
      this.cancel()
      throw new StoreError('corrupt', `${this.what}: answered with more than one message`)
    }
    return joined(message)
  }

  /** Like `receive`, once a message was received: who sent something cannot say afterwards that there is nothing. */
  async receiveMore(): Promise<Message | undefined> {
    try {
      return await this.receive()
    } catch (error) {
      throw contradiction(StoreError.from(error))
    }
  }

  /** Ends the call for both sides; harmless when it has ended. */
  cancel(): void {
    this.#fail(new StoreError('cancelled', `${this.what}: cancelled`))
  }

  #onHeaders(inPieces: boolean): void {
    this.#observer.answered()
    try {
      if (inPieces) this.#pieces = receiveInPieces(this.#raw)
    } catch (error) {
      this.#fail(StoreError.from(error))
    }
  }

  readonly #onAbort = () => this.#fail(StoreError.from(this.#signal?.reason))

  async #wait<T>(step: Promise<T>): Promise<T> {
    this.#waiting++
    // One timer a call: making and clearing one a message shows among the costs of reading a blob.
    if (this.#timer) this.#timer.refresh()
    else this.#timer = setTimeout(this.#onSilence, this.#patienceMs)
    try {
      return await step
    } finally {
      this.#waiting--
    }
  }

  readonly #onSilence = () => {
    this.#timer = undefined
    if (this.#waiting === 0) return
    const seconds = this.#patienceMs / 1000
    const failure = new StoreError('deadline', `${this.what}: no answer within ${seconds} s`)
    if (!this.#ending) this.#observer.unanswered(failure)
    this.#fail(failure)
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
    const ending = end.code === status.OK ? 'ok' : errorOfStatus(end, this.what)
    // Headers come with every status that the peer sends, and with none that grpc-js makes up.
    if (ending === 'ok' || Object.keys(end.metadata.getMap()).length > 0) this.#observer.answered()
    else if (!this.#ending && ending.code === 'unavailable') this.#observer.unanswered(ending)
    this.#end(ending)
  }

  #end(ending: 'ok' | StoreError): void {
    if (this.#ending) return
    this.#ending = ending
    clearTimeout(this.#timer)
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

/** NOT_FOUND after a message is no absence but a fault of the peer, and must not pass for one further up. */
function contradiction(error: StoreError): StoreError {
  if (error.code !== 'not-found') return error
  return new StoreError('corrupt', `${error.message} (after a part of it was sent)`, { cause: error })
}
