import { LRUCache } from 'lru-cache'
import type { Call } from '../../support/call.ts'
import { type Semaphore, SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import type { Soon } from './interface.ts'
import type { FetchStats } from './stats.ts'

export interface CachedFetchOptions<V> {
  /** What the values kept may weigh together. */
  readonly weightMax: number
  readonly weigh: (value: V) => number
  /** For the counts. */
  readonly bytes: (value: V) => number
  /** Fetches that run at the same time, perhaps shared with others. */
  readonly slots: Semaphore
  readonly stats: FetchStats
  /** Hears of what gave way to others. */
  readonly dropped?: (value: V) => void
}

/** What to fetch; called at most once, when its turn has come. */
export interface Wanted<V> {
  readonly key: string
  /** Share of the slots that the fetch takes. */
  readonly weight?: number
  fetch(call: Call): Promise<V>
}

/**
 * Immutable things under a key: kept while there is room, fetched once however many ask at the same time.
 * A failure is not kept: whoever asks next makes a new request.
 */
export class CachedFetch<V extends object> {
  readonly #cache: LRUCache<string, V>
  readonly #flights = new SingleFlight<string, V>()
  readonly #options: CachedFetchOptions<V>

  constructor(options: CachedFetchOptions<V>) {
    this.#options = options
    const { weightMax, weigh } = options
    this.#cache = new LRUCache({
      maxSize: weightMax,
      // A value heavier than the whole cache stays nevertheless, alone: else every use of it would be a fetch.
      sizeCalculation: (value) => Math.max(1, Math.min(weigh(value), weightMax)),
      ...(options.dropped && { dispose: options.dropped }),
    })
  }

  get weight(): number {
    return this.#cache.calculatedSize
  }

  /** Looks without asking: nothing is counted, and what is found grows no younger. */
  peek(key: string): V | undefined {
    return this.#cache.peek(key)
  }

  /** What is in memory. Counted as asked for only if it is found; who finds nothing goes on to `get`. */
  take(key: string): V | undefined {
    const known = this.#cache.get(key)
    if (known !== undefined) this.countUse(this.#options.bytes(known))
    return known
  }

  get(wanted: Wanted<V>, call: Call | undefined): Soon<V> {
    const known = this.take(wanted.key)
    if (known !== undefined) return known
    const { stats } = this.#options
    stats.asked++
    let started = false
    const result = this.#flights.run(
      wanted.key,
      (flightCall) => {
        started = true
        return this.#fetch(wanted, flightCall, undefined)
      },
      call,
    )
    if (!started) stats.joined++
    return result
  }

  /** As `get` for what is fetched on the spot; `undefined` when `fetch` has nothing, and then nothing is counted. */
  getNow(key: string, fetch: () => V | undefined): V | undefined {
    const known = this.take(key)
    if (known !== undefined) return known
    const value = fetch()
    if (value === undefined) return undefined
    const { stats, bytes } = this.#options
    stats.asked++
    stats.fetched++
    stats.fetchedBytes += bytes(value)
    this.#cache.set(key, value)
    return value
  }

  /** As `getNow` for what nobody asked for yet. */
  prefetchNow(key: string, fetch: () => V | undefined): V | undefined {
    const value = this.#cache.peek(key) ?? fetch()
    if (value === undefined || this.#cache.has(key)) return value
    const { stats, bytes } = this.#options
    stats.fetched++
    stats.fetchedBytes += bytes(value)
    this.#cache.set(key, value)
    return value
  }

  /** Something that is in memory was used elsewhere, so many bytes of it. */
  countUse(bytes: number): void {
    const { stats } = this.#options
    stats.asked++
    stats.cached++
    stats.cachedBytes += bytes
  }

  /** For what turned out not to be right. */
  drop(key: string): void {
    this.#cache.delete(key)
  }

  /** Keeps what came by another way. */
  keep(key: string, value: V): void {
    if (!this.#cache.has(key)) this.#cache.set(key, value)
  }

  /** Fetches what nobody asked for yet and is not in memory, counting it in `ahead` too. */
  prefetch(wanted: Wanted<V>, ahead: FetchStats, call: Call): Promise<V> {
    return this.#flights.run(wanted.key, (flightCall) => this.#fetch(wanted, flightCall, ahead), call)
  }

  async #fetch(wanted: Wanted<V>, call: Call, ahead: FetchStats | undefined): Promise<V> {
    const release = await this.#options.slots.acquire(wanted.weight, call.signal)
    const counts = ahead ? [this.#options.stats, ahead] : [this.#options.stats]
    try {
      for (const count of counts) count.fetched++
      const value = await wanted.fetch(call)
      for (const count of counts) count.fetchedBytes += this.#options.bytes(value)
      this.#cache.set(wanted.key, value)
      return value
    } catch (error) {
      const failure = StoreError.from(error)
      if (failure.code !== 'cancelled') for (const count of counts) count.failed++
      throw failure
    } finally {
      release()
    }
  }
}
