import { monotonicMs } from './clock.ts'

/**
 * Watches how long the event loop has been at one turn. Work that is done on the spot resolves promises without ever
 * getting back to the loop, and a chain of it would keep sockets and timers waiting; so it asks here, and does its
 * next step in a way that waits once the turn has lasted long enough.
 */
export class Turn {
  readonly #msMax: number
  #began: number | undefined

  constructor(msMax: number) {
    this.#msMax = msMax
  }

  /** Whether more than `msMax` milliseconds went by since this was first asked in this turn. */
  get isLong(): boolean {
    if (this.#began !== undefined) return monotonicMs() - this.#began > this.#msMax
    this.#began = monotonicMs()
    setImmediate(() => {
      this.#began = undefined
    })
    return false
  }
}
