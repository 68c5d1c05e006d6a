import { type Call, throwIfAborted } from '../support/call.ts'
import { StoreError, withContext } from '../support/errors.ts'
import {
  HEDGE_BURST,
  HEDGE_MS_MIN,
  HEDGE_SHARE_MAX,
  SOURCE_FAULT_LOG_MS,
  SOURCE_MS_MAX,
} from '../support/limits.ts'
import { type Logger, silentLogger } from '../support/log.ts'
import { Latencies } from './latencies.ts'

/** A service that others can stand in for, with the name that messages call it. */
export interface Source<S> {
  readonly name: string
  readonly service: S
}

export interface SourceSetOptions {
  /** A source that says nothing for this long counts as failed. */
  readonly timeoutMs?: number
  readonly logger?: Logger
  readonly metrics?: SourceMetrics | undefined
}

/** Hears of each thing that is counted. */
export interface SourceMetrics {
  failed(source: string): void
  hedged(): void
}

export interface Answer<S, T> {
  readonly value: T
  readonly from: Source<S>
}

/** An answer that goes on after it was given, under the signal of its call: `release` it when it has ended. */
export interface OpenAnswer<S, T> extends Answer<S, T> {
  readonly release: () => void
}

/** What has been counted since the set was made. */
export interface SourceStats {
  /** By name of the source. */
  readonly failures: Readonly<Record<string, number>>
  /** Questions that went to a second source because the first was slow. */
  readonly hedges: number
}

/**
 * Asks several sources of the same contents, in order. One that fails is passed over, with a line in the log; one
 * that takes longer than nearly all of its own earlier answers gets company from the next ("hedged" request,
 * bounded to a share of all questions), and whoever answers first wins.
 *
 * `undefined`, absence, is said only when every source said so: where one failed and the others have nothing, its
 * failure is the answer.
 */
export class SourceSet<S> {
  readonly sources: readonly Source<S>[]
  readonly timeoutMs: number
  readonly #logger: Logger
  readonly #metrics: SourceMetrics | undefined
  readonly #latencies = new Map<Source<S>, Latencies>()
  readonly #failures = new Map<string, number>()
  readonly #loggedAt = new Map<string, number>()
  #hedges = 0
  /** Hedged questions that may still be asked; grows with every question. */
  #allowance = HEDGE_BURST

  constructor(sources: readonly Source<S>[], options: SourceSetOptions = {}) {
    this.sources = sources
    this.timeoutMs = options.timeoutMs ?? SOURCE_MS_MAX
    this.#logger = options.logger ?? silentLogger
    this.#metrics = options.metrics
    for (const source of sources) this.#latencies.set(source, new Latencies())
  }

  get stats(): SourceStats {
    return { failures: Object.fromEntries(this.#failures), hedges: this.#hedges }
  }

  /** The first answer. Throws what the last of those that failed said. */
  async ask<T>(
    call: Call | undefined,
    work: (service: S, call: Call) => Promise<T | undefined>,
  ): Promise<Answer<S, T> | undefined> {
    const answer = await this.open(call, work)
    answer?.release()
    return answer
  }

  /** The same for what streams. Sources in `without` are not asked. */
  async open<T>(
    call: Call | undefined,
    work: (service: S, call: Call) => Promise<T | undefined>,
    without: ReadonlySet<Source<S>> = new Set(),
  ): Promise<OpenAnswer<S, T> | undefined> {
    throwIfAborted(call?.signal)
    const sources = this.sources.filter((source) => !without.has(source))
    return await new Question(this, sources, call, work).answer()
  }

  /** Takes note of a failure that was survived. */
  failed(source: Source<S>, error: unknown): void {
    this.#failures.set(source.name, (this.#failures.get(source.name) ?? 0) + 1)
    this.#metrics?.failed(source.name)
    const now = performance.now()
    // One line a minute: a source that is gone fails thousands of times.
    if (now - (this.#loggedAt.get(source.name) ?? Number.NEGATIVE_INFINITY) < SOURCE_FAULT_LOG_MS) return
    this.#loggedAt.set(source.name, now)
    const fields = {
      source: source.name,
      failures: this.#failures.get(source.name),
      reason: StoreError.from(error).message,
      ...(error instanceof StoreError ? {} : { err: error }), // nobody foresaw it: the stack is wanted
    }
    this.#logger.warn(fields, 'a source failed; asking the next one')
  }

  answered(source: Source<S>, ms: number): void {
    this.#latencies.get(source)!.add(ms)
    this.#allowance = Math.min(this.#allowance + HEDGE_SHARE_MAX, HEDGE_BURST)
  }

  /** How long to wait for `source` alone. `undefined` while nothing is known, or when it had company too often. */
  patienceMs(source: Source<S>): number | undefined {
    const usual = this.#latencies.get(source)!.percentile95()
    return usual === undefined || this.#allowance < 1 ? undefined : Math.max(usual, HEDGE_MS_MIN)
  }

  hedged(): void {
    this.#allowance--
    this.#hedges++
    this.#metrics?.hedged()
  }
}

/** One question on its way through the sources. */
class Question<S, T> {
  readonly #set: SourceSet<S>
  readonly #waiting: Source<S>[]
  readonly #call: Call | undefined
  readonly #work: (service: S, call: Call) => Promise<T | undefined>
  readonly #running = new Set<AbortController>()
  readonly #result = Promise.withResolvers<OpenAnswer<S, T> | undefined>()
  #failure: StoreError | undefined
  #hedge: NodeJS.Timeout | undefined
  #settled = false

  constructor(
    set: SourceSet<S>,
    sources: readonly Source<S>[],
    call: Call | undefined,
    work: (service: S, call: Call) => Promise<T | undefined>,
  ) {
    this.#set = set
    this.#waiting = [...sources]
    this.#call = call
    this.#work = work
  }

  async answer(): Promise<OpenAnswer<S, T> | undefined> {
    this.#askNext()
    try {
      return await this.#result.promise
    } finally {
      clearTimeout(this.#hedge)
    }
  }

  #askNext(): void {
    clearTimeout(this.#hedge)
    const source = this.#waiting.shift()
    if (source) {
      this.#askSource(source)
      this.#armHedge(source)
    } else if (this.#running.size === 0) this.#settle(() => this.#conclude())
  }

  #conclude(): void {
    if (this.#failure) this.#result.reject(this.#failure)
    else this.#result.resolve(undefined)
  }

  #armHedge(source: Source<S>): void {
    const patience = this.#waiting.length > 0 ? this.#set.patienceMs(source) : undefined
    if (patience === undefined) return
    this.#hedge = setTimeout(() => {
      this.#set.hedged()
      this.#askNext()
    }, patience)
  }

  async #askSource(source: Source<S>): Promise<void> {
    const { controller: attempt, release } = linkedController(this.#call)
    this.#running.add(attempt)
    const timer = setTimeout(
      () => attempt.abort(silent(source.name, this.#set.timeoutMs)),
      this.#set.timeoutMs,
    )
    const started = performance.now()
    try {
      const value = await orAborted(
        this.#work(source.service, { ...this.#call, signal: attempt.signal }),
        attempt,
      )
      this.#set.answered(source, performance.now() - started)
      this.#running.delete(attempt)
      if (value !== undefined && !this.#settled) return this.#win({ value, from: source, release })
      release()
      this.#next()
    } catch (error) {
      release()
      this.#running.delete(attempt)
      this.#fail(source, error)
    } finally {
      clearTimeout(timer)
    }
  }

  #win(answer: OpenAnswer<S, T>): void {
    this.#settle(() => this.#result.resolve(answer))
  }

  #fail(source: Source<S>, error: unknown): void {
    if (this.#settled) return // the loser of a hedged question, told to stop
    const outer = this.#call?.signal
    if (outer?.aborted) this.#settle(() => this.#result.reject(StoreError.from(outer.reason)))
    else {
      this.#set.failed(source, error)
      this.#failure = withContext(source.name, error)
      this.#next()
    }
  }

  #next(): void {
    if (this.#settled) return
    // Somebody else is still at it, unless that was the last one.
    if (this.#running.size === 0 || this.#waiting.length > 0) this.#askNext()
  }

  #settle(tell: () => void): void {
    if (this.#settled) return
    this.#settled = true
    tell()
    for (const attempt of this.#running)
      attempt.abort(new StoreError('cancelled', 'another source answered first'))
  }
}

/** A controller that aborts with the call, until released: the signal of a command outlives millions of questions. */
function linkedController(call: Call | undefined): { controller: AbortController; release: () => void } {
  const controller = new AbortController()
  const outer = call?.signal
  const forward = () => controller.abort(outer?.reason)
  outer?.addEventListener('abort', forward, { once: true })
  return { controller, release: () => outer?.removeEventListener('abort', forward) }
}

/** Not every service heeds its signal at once; whoever asks does not wait for that. */
function orAborted<T>(work: Promise<T>, { signal }: AbortController): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(StoreError.from(signal.reason))
    signal.addEventListener('abort', leave, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}

function silent(name: string, ms: number): StoreError {
  return new StoreError('deadline', `${name}: no answer within ${ms / 1000} s`)
}
