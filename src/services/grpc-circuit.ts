import { StoreError } from '../support/errors.ts'
import type { GrpcPolicy } from './grpc-policy.ts'

type CircuitPolicy = Pick<GrpcPolicy, 'circuitFailures' | 'circuitMs' | 'retryMs' | 'returnMs'>

/**
 * Remembers that a peer is dead, so that callers hear of it at once instead of each finding out for itself. It
 * opens when several calls in a row had no answer at all, over at least the time that a read promises to wait for
 * a peer to come back: one that restarts under load is not dead. While it is open, one call passes whenever the
 * connection is made anew, and one every `circuitMs`; the first answer of any kind closes it.
 */
export class Circuit {
  readonly #policy: CircuitPolicy
  readonly #isConnected: () => boolean
  readonly #now: () => number
  #hasAnswered = false
  #failures = 0
  #failingSince = 0
  #lastFailure: StoreError | undefined
  /** When the next call may try; `undefined` while the circuit is closed. */
  #nextTry: number | undefined
  #wasConnected = false

  /** `isConnected` is also asked so that a lost connection is made again. `now` is in milliseconds. */
  constructor(policy: CircuitPolicy, isConnected: () => boolean, now = () => performance.now()) {
    this.#policy = policy
    this.#isConnected = isConnected
    this.#now = now
  }

  get isOpen(): boolean {
    return this.#nextTry !== undefined
  }

  /**
   * A peer that was there and has not answered since, but not for so long that it must be gone: perhaps it restarts. Whoever
   * can ask nobody else does well to wait for it, also while the circuit is open.
   */
  get isMissed(): boolean {
    return this.#hasAnswered && this.#failures > 0 && this.#now() - this.#failingSince < this.#policy.returnMs
  }

  /** Throws `unavailable` while the circuit is open. `what` is what the caller is about to call. */
  admit(what: string): void {
    if (this.#nextTry === undefined) return
    const connected = this.#isConnected()
    const returned = connected && !this.#wasConnected
    this.#wasConnected = connected
    if (!returned && this.#now() < this.#nextTry)
      throw new StoreError(
        'unavailable',
        `${what}: not tried, since the peer has not answered for a while: ${this.#lastFailure!.message}`,
      )
    this.#nextTry = this.#now() + this.#policy.circuitMs
  }

  /** The peer gave a sign of life. */
  answered(): void {
    this.#hasAnswered = true
    this.#failures = 0
    this.#nextTry = undefined
  }

  /** A call ended without one. */
  unanswered(failure: StoreError): void {
    this.#lastFailure = failure
    if (this.#failures++ === 0) this.#failingSince = this.#now()
    if (this.isOpen || this.#failures < this.#policy.circuitFailures) return
    if (this.#now() - this.#failingSince < promisedMs(this.#policy.retryMs)) return
    this.#wasConnected = this.#isConnected()
    this.#nextTry = this.#now() + this.#policy.circuitMs
  }
}

/** What is left of the pauses when jitter took the most. */
function promisedMs(pauses: readonly number[]): number {
  return pauses.reduce((sum, pause) => sum + pause, 0) / 2
}
