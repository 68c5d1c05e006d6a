import { type Call, throwIfAborted, withDeadline } from './call.ts'
import { SingleFlight } from './concurrency.ts'
import { StoreError } from './errors.ts'

/**
 * Joins callers as SingleFlight does, but what was begun goes on when all of them have left: work that takes longer
 * than anybody's patience would otherwise begin anew with every try and never end. Bounded in number and in time.
 */
export class LingeringFlight<K, V> implements AsyncDisposable {
  readonly #flights = new SingleFlight<K, V>()
  readonly #running = new Map<K, Promise<unknown>>()
  readonly #closing = new AbortController()
  readonly #flightsMax: number
  readonly #lingerMs: number

  /** Unattended work ends `lingerMs` milliseconds after it began. */
  constructor(flightsMax: number, lingerMs: number) {
    this.#flightsMax = flightsMax
    this.#lingerMs = lingerMs
  }

  /** Throws `exhausted` when too much goes on already. */
  async run(key: K, work: (call: Call) => Promise<V>, call?: Call): Promise<V> {
    throwIfAborted(call?.signal)
    throwIfAborted(this.#closing.signal)
    if (!this.#running.has(key)) this.#start(key, work)
    return await this.#flights.run(key, work, call)
  }

  /** Ends everything and waits for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new StoreError('cancelled', 'the service is being closed'))
    await Promise.allSettled(this.#running.values())
  }

  #start(key: K, work: (call: Call) => Promise<V>): void {
    if (this.#running.size >= this.#flightsMax)
      throw new StoreError('exhausted', `${this.#flightsMax} are being worked on already: try again later`)
    let result: Promise<V> | undefined
    const flight = (call: Call) => {
      // Closing ends it for those who still wait, too.
      const { signal: closing } = this.#closing
      result = work({ signal: call.signal ? AbortSignal.any([call.signal, closing]) : closing })
      return result
    }
    const running = this.#attend(key, flight)
      .catch(() => {}) // told to those who wait
      .then(() => result?.catch(() => {}))
      .finally(() => this.#running.delete(key))
    this.#running.set(key, running)
  }

  /** The passenger who stays when the others have left. */
  async #attend(key: K, work: (call: Call) => Promise<V>): Promise<V> {
    using patience = withDeadline({ signal: this.#closing.signal }, this.#lingerMs, 'unattended work')
    return await this.#flights.run(key, work, patience)
  }
}
