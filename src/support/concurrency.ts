import { type Call, onAbort, throwIfAborted } from './call.ts'
import { StoreError } from './errors.ts'

interface Waiter {
  readonly weight: number
  readonly grant: () => void
}

/** Counts weight out to those who ask, first come first served, and never more than its capacity at once. */
export class Semaphore {
  readonly capacity: number
  #available: number
  readonly #waiting: Waiter[] = []

  constructor(capacity: number) {
    this.capacity = capacity
    this.#available = capacity
  }

  /**
   * Waits for `weight` units and returns the function that gives them back (calling it twice is harmless).
   * A weight above the capacity is cut to it, so that one oversized user passes alone instead of never.
   */
  async acquire(weight = 1, signal?: AbortSignal): Promise<() => void> {
    throwIfAborted(signal)
    const release = this.tryAcquire(weight)
    if (release) return release
    const units = Math.min(weight, this.capacity)
    await this.#wait(units, signal)
    return this.#releaseOf(units)
  }

  /** The same without waiting: `undefined` when it would have to. */
  tryAcquire(weight = 1): (() => void) | undefined {
    const units = Math.min(weight, this.capacity)
    if (this.#waiting.length > 0 || units > this.#available) return undefined
    this.#available -= units
    return this.#releaseOf(units)
  }

  /** Runs `task` while holding `weight` units. */
  async run<T>(task: () => Promise<T>, weight = 1, signal?: AbortSignal): Promise<T> {
    const release = await this.acquire(weight, signal)
    try {
      return await task()
    } finally {
      release()
    }
  }

  #releaseOf(units: number): () => void {
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#available += units
      this.#grantWaiting()
    }
  }

  #wait(weight: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        weight,
        grant: () => {
          takeBack?.()
          resolve()
        },
      }
      const abandon = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        // Whoever stood behind a large waiter may fit now that it left.
        this.#grantWaiting()
        reject(StoreError.from(signal?.reason))
      }
      const takeBack = signal && onAbort(signal, abandon)
      this.#waiting.push(waiter)
    })
  }

  #grantWaiting(): void {
    for (let first = this.#waiting[0]; first && first.weight <= this.#available; first = this.#waiting[0]) {
      this.#waiting.shift()
      this.#available -= first.weight
      first.grant()
    }
  }
}

interface Flight<V> {
  readonly result: Promise<V>
  readonly controller: AbortController
  passengers: number
}

/**
 * Joins callers that want the same thing at the same time. The work is aborted only when everybody who waits
 * for it has left: the first caller leaving takes nothing away from the others.
 */
export class SingleFlight<K, V> {
  readonly #flights = new Map<K, Flight<V>>()

  get size(): number {
    return this.#flights.size
  }

  async run(key: K, work: (call: Call) => Promise<V>, call?: Call): Promise<V> {
    throwIfAborted(call?.signal)
    const flight = this.#flights.get(key) ?? this.#start(key, work)
    flight.passengers++
    return this.#ride(key, flight, call?.signal)
  }

  #start(key: K, work: (call: Call) => Promise<V>): Flight<V> {
    const controller = new AbortController()
    const result = work({ signal: controller.signal }).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    })
    const flight: Flight<V> = { result, controller, passengers: 0 }
    result.catch(() => {}) // each passenger sees the failure; the flight itself needs no handler
    this.#flights.set(key, flight)
    return flight
  }

  async #ride(key: K, flight: Flight<V>, signal: AbortSignal | undefined): Promise<V> {
    let stay: (() => void) | undefined
    try {
      if (!signal) return await flight.result
      const left = new Promise<never>((_, reject) => {
        stay = onAbort(signal, () => reject(StoreError.from(signal.reason)))
      })
      return await Promise.race([flight.result, left])
    } finally {
      stay?.()
      if (--flight.passengers === 0 && this.#flights.get(key) === flight) {
        this.#flights.delete(key)
        flight.controller.abort(new StoreError('cancelled', 'nobody waits for this any more'))
      }
    }
  }
}

/**
 * Runs `work` over `items`, at most `width` at a time (which may change on the way), and yields the results in the order of the
 * items.
 * The first failure ends it: the remaining work is aborted and awaited before the error is thrown.
 */
export async function* mapConcurrent<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  width: number | (() => number),
  work: (item: T, call: Call) => Promise<R>,
  call?: Call,
): AsyncGenerator<R> {
  const widthNow = typeof width === 'number' ? () => width : width
  const controller = new AbortController()
  const forward = () => controller.abort(call?.signal?.reason)
  call?.signal?.addEventListener('abort', forward, { once: true })
  const pending: Promise<R>[] = []
  let failure: { readonly error: unknown } | undefined
  // Noticed at once and not when its turn comes: an earlier item may wait for long, and then ends as well.
  const fail = (error: unknown) => {
    failure ??= { error }
    controller.abort(new StoreError('cancelled', 'another item failed'))
  }
  const next = async (): Promise<R> => {
    try {
      return await pending.shift()!
    } catch (error) {
      throw failure ? failure.error : error
    }
  }
  try {
    throwIfAborted(call?.signal)
    for await (const item of items) {
      throwIfAborted(call?.signal)
      if (failure) break
      const result = work(item, { signal: controller.signal })
      result.catch(fail)
      pending.push(result)
      while (pending.length >= widthNow()) yield await next()
    }
    while (pending.length > 0) yield await next()
  } finally {
    call?.signal?.removeEventListener('abort', forward)
    if (pending.length > 0) {
      controller.abort(new StoreError('cancelled', 'the results are no longer wanted'))
      await Promise.allSettled(pending)
    }
  }
}
