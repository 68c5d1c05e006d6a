import { Metadata, status } from '@grpc/grpc-js'
import { TRACEPARENT_HEADER } from '../../services/grpc-headers.ts'
import { statusOfError } from '../../services/grpc-status.ts'
import type { Call } from '../../support/call.ts'
import { type ErrorCode, StoreError } from '../../support/errors.ts'
import type { Logger } from '../../support/log.ts'
import { continueTrace } from '../../support/trace-context.ts'
import { withoutFalseAbsence } from './absence.ts'
import type { AnswerStreams } from './backpressure.ts'
import type { CallLimits } from './call-limits.ts'
import type { CallMetrics } from './call-metrics.ts'
import { http2Stream } from './grpc-js-internals.ts'
import { receiveLimitOf } from './message-size.ts'

/** What a handler knows of its call, besides the request. */
export interface ServerCall extends Call {
  /** Aborted when the client cancels or its connection is lost. */
  readonly signal: AbortSignal
  /** Messages of the answer that the transport has taken, so that nobody reads their memory any more. */
  readonly messagesLeft: number
  /** Sends the headers at once, so that a later error travels in the trailers (spec §1.13). */
  sendHeaders(): void
}

/** What the calls of one server have in common. */
export interface CallContext {
  readonly logger: Logger
  readonly limits: CallLimits
  readonly answers: AnswerStreams
  readonly metrics: CallMetrics
}

/** What grpc-js has for each kind of call. */
export interface AnyServerCall {
  on(event: 'cancelled', listener: () => void): unknown
  off(event: 'cancelled', listener: () => void): unknown
  readonly cancelled: boolean
  readonly metadata: Metadata
  sendMetadata(metadata: Metadata): void
  getPath(): string
  getPeer(): string
}

/** Failures that are ours rather than the client's. */
const OUR_FAULTS: ReadonlySet<ErrorCode> = new Set(['corrupt', 'unavailable', 'internal', 'deadline'])

/** From the headers of a call to its status: its place under the limits, its line in the log, its numbers. */
export class RunningCall implements ServerCall {
  readonly signal: AbortSignal
  readonly traceparent: string | undefined
  /** Bytes that one message to this client may have. */
  readonly receiveLimit: number
  messagesLeft = 0
  receivedBytes = 0
  sentBytes = 0
  readonly #call: AnyServerCall
  readonly #context: CallContext
  readonly #begun = performance.now()
  readonly #taken: (() => void)[] = []
  readonly #controller = new AbortController()
  readonly #abort = () => this.#controller.abort(new StoreError('cancelled', 'the client went away'))

  constructor(call: AnyServerCall, context: CallContext) {
    this.#call = call
    this.#context = context
    this.signal = this.#controller.signal
    if (call.cancelled) this.#abort()
    else call.on('cancelled', this.#abort)
    this.traceparent = continueTrace(call.metadata.get(TRACEPARENT_HEADER)[0]?.toString())
    this.receiveLimit = receiveLimitOf(call.metadata)
    context.metrics.begun()
  }

  /** Throws `exhausted`, naming the limit that this call is above. */
  admit(isUpload: boolean): void {
    const { limits } = this.#context
    limits.checkMetadata(metadataBytes(this.#call.metadata))
    const connection = http2Stream(this.#call).session
    if (connection) this.#taken.push(limits.takeStream(connection))
    if (isUpload) this.#taken.push(limits.takeUpload())
  }

  sendHeaders(): void {
    this.#call.sendMetadata(new Metadata())
  }

  /** Call it once, when the call is over. The status that tells the client of `error`. */
  end(error?: unknown): { code: number; details: string } {
    for (const giveBack of this.#taken) giveBack()
    // grpc-js says of every call, at its end, that it was cancelled.
    this.#call.off('cancelled', this.#abort)
    const known = error === undefined ? undefined : withoutFalseAbsence(StoreError.from(error))
    const answer = known ? statusOfError(known) : { code: status.OK, details: '' }
    this.#count(status[answer.code]!)
    this.#log(status[answer.code]!, known)
    return answer
  }

  #count(name: string): void {
    const [, service = '', method = ''] = this.#call.getPath().split('/')
    const { receivedBytes, sentBytes } = this
    const seconds = (performance.now() - this.#begun) / 1000
    this.#context.metrics.ended({ service, method, status: name, seconds, receivedBytes, sentBytes })
  }

  /** Neither requests nor metadata: a log is read by more people than a store. */
  #log(name: string, error: StoreError | undefined): void {
    const fields = {
      procedure: this.#call.getPath().slice(1),
      ...(this.traceparent && { traceparent: this.traceparent }),
    }
    const { logger } = this.#context
    if (error && OUR_FAULTS.has(error.code))
      logger.warn({ ...fields, code: error.code, err: error }, 'a call failed')
    logger.debug(
      {
        ...fields,
        status: name,
        ...(error && { reason: error.message }),
        peer: this.#call.getPeer(),
        ms: Math.round(performance.now() - this.#begun),
        received_bytes: this.receivedBytes,
        sent_bytes: this.sentBytes,
      },
      'a call ended',
    )
  }
}

function metadataBytes(metadata: Metadata): number {
  let bytes = 0
  for (const [name, value] of Object.entries(metadata.toHttp2Headers()))
    for (const each of [value].flat()) bytes += name.length + String(each ?? '').length
  return bytes
}
