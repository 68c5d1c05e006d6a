import { type Call, throwIfAborted } from '../support/call.ts'
import { Semaphore } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import {
  BUCKET_OVERLOAD_RETRY_MS,
  BUCKET_REQUESTS_MAX,
  BUCKET_RETRY_AFTER_MS_MAX,
  BUCKET_RETRY_MS,
  BUCKET_SILENCE_MS_MAX,
  BUCKET_UPLOAD_BYTES_PER_SECOND_MIN,
} from '../support/limits.ts'
import { jittered, pause } from '../support/pause.ts'
import { BusyError } from './busy-error.ts'

/** How patient we are with a bucket. */
export interface RequestPolicy {
  /** Requests at the same time. */
  readonly requestsMax: number
  /** A request in which nothing comes for so long is given up. */
  readonly silenceMsMax: number
  /** Pauses before a request that failed is made again; jitter takes up to half of each. */
  readonly retryMs: readonly number[]
  /** Those that follow where the server said that it is asked too much. */
  readonly overloadRetryMs: readonly number[]
  /** A server that asks for a longer pause is told of as unavailable. */
  readonly retryAfterMsMax: number
}

const DEFAULT_REQUEST_POLICY: RequestPolicy = {
  requestsMax: BUCKET_REQUESTS_MAX,
  silenceMsMax: BUCKET_SILENCE_MS_MAX,
  retryMs: BUCKET_RETRY_MS,
  overloadRetryMs: BUCKET_OVERLOAD_RETRY_MS,
  retryAfterMsMax: BUCKET_RETRY_AFTER_MS_MAX,
}

/** One try of a request. */
export interface Request {
  /** Aborts when the caller leaves or the deadline has passed. */
  readonly signal: AbortSignal
  /** Something came in: the deadline begins anew. */
  progress(): void
}

export interface RequestOptions extends Call {
  /** Bytes that the request sends; they give it more time. */
  readonly sends?: number
}

/**
 * What is the same for every request to every kind of bucket: a bounded number at a time, a deadline on silence,
 * and further tries, spread by jitter, for what may succeed the next time. The SDKs' own tries are switched off:
 * theirs end where the body of an answer begins, and none of them sees the others. Every request here can be made
 * twice. `explain` makes a StoreError of what an SDK throws, without the name of what was being done.
 */
export class Requests {
  readonly #explain: (error: unknown) => StoreError
  readonly #policy: RequestPolicy
  readonly #slots: Semaphore

  constructor(explain: (error: unknown) => StoreError, policy: Partial<RequestPolicy> = {}) {
    this.#explain = explain
    this.#policy = { ...DEFAULT_REQUEST_POLICY, ...policy }
    this.#slots = new Semaphore(this.#policy.requestsMax)
  }

  /** `what` is in front of every error: what is done with which object of which bucket. */
  async run<T>(
    what: string,
    work: (request: Request) => Promise<T>,
    options: RequestOptions = {},
  ): Promise<T> {
    let hadDeadline = false
    const { retryMs, overloadRetryMs } = this.#policy
    for (const [tries, usual] of [...retryMs, ...overloadRetryMs, undefined].entries()) {
      throwIfAborted(options.signal)
      try {
        return await this.#slots.run(() => this.#once(work, options), 1, options.signal)
      } catch (error) {
        throwIfAborted(options.signal)
        const failure = this.#explain(error)
        const isOverloaded = failure instanceof BusyError && failure.isOverloaded
        const isOver = usual === undefined || (tries >= retryMs.length && !isOverloaded)
        const wait = isOver ? undefined : this.#pauseBefore(failure, usual, hadDeadline)
        if (wait === undefined) throw new StoreError(failure.code, `${what}: ${failure.message}`)
        hadDeadline ||= failure.code === 'deadline'
        await pause(wait, options.signal)
      }
    }
    throw new StoreError('internal', `${what}: no try was made`)
  }

  async #once<T>(work: (request: Request) => Promise<T>, options: RequestOptions): Promise<T> {
    const sendMs = ((options.sends ?? 0) / BUCKET_UPLOAD_BYTES_PER_SECOND_MIN) * 1000
    using request = new OpenRequest(options.signal, this.#policy.silenceMsMax + sendMs)
    try {
      // Not every SDK heeds a signal wherever it waits.
      return await Promise.race([work(request), request.ended])
    } catch (error) {
      // Those that do have words of their own for the reason.
      throwIfAborted(request.signal)
      throw error
    }
  }

  /** How long to wait before the next try; `undefined` when there should be none. */
  #pauseBefore(failure: StoreError, usual: number, hadDeadline: boolean): number | undefined {
    // Once again after a deadline: a lost packet costs one, a dead server would cost them all.
    if (failure.code === 'deadline') return hadDeadline ? undefined : 0
    if (failure.code !== 'unavailable') return undefined
    const asked = failure instanceof BusyError ? (failure.retryAfterMs ?? 0) : 0
    if (asked > this.#policy.retryAfterMsMax) return undefined
    return Math.max(asked, jittered(usual))
  }
}

class OpenRequest implements Request, Disposable {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #timer: NodeJS.Timeout
  /** Rejects when the request is to end. */
  readonly ended: Promise<never>

  constructor(outer: AbortSignal | undefined, ms: number) {
    this.#outer = outer
    const { promise, reject } = Promise.withResolvers<never>()
    promise.catch(() => {}) // most requests end before anybody aborts them
    this.ended = promise
    this.signal.addEventListener('abort', () => reject(StoreError.from(this.signal.reason)), { once: true })
    if (outer?.aborted) this.#forward()
    else outer?.addEventListener('abort', this.#forward, { once: true })
    this.#timer = setTimeout(
      () => this.#controller.abort(new StoreError('deadline', `nothing came for ${ms / 1000} s`)),
      ms,
    )
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  progress(): void {
    this.#timer.refresh()
  }

  readonly #forward = (): void => {
    this.#controller.abort(this.#outer?.reason)
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#outer?.removeEventListener('abort', this.#forward)
  }
}
