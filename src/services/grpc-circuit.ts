import { StoreError } from '../support/errors.ts'
import type { GrpcPolicy } from './grpc-policy.ts'

type CircuitPolicy = Pick<GrpcPolicy, 'circuitFailures' | 'circuitMs' | 'retryMs' | 'returnMs'>

/**
 * Remembers that a peer is dead, so that callers hear of it at once instead of each finding out for itself. It
 * opens when several calls in a row had no answer at all, over at least the time that a read promises to wait for
 * a peer to come back: one that restarts, under load or with a call to finish, is not dead. While it is open, one call passes whenever the
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

  /** A peer that was there once and does not answer, but is not held for dead: perhaps it restarts. */
  get isMissed(): boolean {
    return this.#hasAnswered && this.#failures > 0 && !this.isOpen && this.#policy.returnMs > 0
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
    if (this.#now() - this.#failingSince < this.#promisedMs()) return
    this.#wasConnected = this.#isConnected()
    this.#nextTry = this.#now() + this.#policy.circuitMs
  }

  /** The pauses of a read, when jitter took the most of them; and until a peer that was there is back. */
  #promisedMs(): number {
    const pauses = this.#policy.retryMs.reduce((sum, pause) => sum + pause, 0) / 2
    return this.#hasAnswered ? Math.max(pauses, this.#policy.returnMs) : pauses
  }
}
