import { monotonicMs } from '../../support/clock.ts'
import {
  FUSE_PATIENCE_US,
  FUSE_QUICK_MS,
  FUSE_WALK_PATIENCE_US,
  FUSE_WALK_QUICK_MS,
} from '../../support/limits.ts'

/** For how long, in microseconds, and for whom: who came back within so many milliseconds. */
export interface PatienceLimits {
  readonly us: number
  readonly quickMs: number
  readonly walkUs: number
  readonly walkQuickMs: number
}

/** For the kernel of this machine. */
const FUSE_LIMITS: PatienceLimits = {
  us: FUSE_PATIENCE_US,
  quickMs: FUSE_QUICK_MS,
  walkUs: FUSE_WALK_PATIENCE_US,
  walkQuickMs: FUSE_WALK_QUICK_MS,
}

/**
 * How long to look for the next request before going to sleep. A program that reads file after file asks again within
 * microseconds, and waking an idle processor takes longer than to answer it. So whoever came soon after we fell asleep is waited
 * for the next time; and once that was in vain, only another one who comes so soon brings it back. A mount that nobody uses, or that
 * is asked now and then, never looks twice. Who walks through directories is waited for longer, while what they will ask for is ready: the
 * kernel works on a listing for some hundred microseconds. So is a script whose runtime asks of each file whether it is a terminal.
 */
export class Patience {
  readonly #limits: PatienceLimits
  readonly #now: () => number
  #sleptAt: number | undefined
  #isQuick = false
  #isQuickEnough = false

  /** Milliseconds on a clock that never goes back. */
  constructor(now = monotonicMs, limits = FUSE_LIMITS) {
    this.#limits = limits
    this.#now = now
  }

  /** `isExpected`: it is known that somebody will ask again soon. */
  microseconds(isExpected: boolean): number {
    if (isExpected && this.#isQuickEnough) return this.#limits.walkUs
    return this.#isQuick ? this.#limits.us : 0
  }

  received(): void {
    if (this.#sleptAt === undefined) return
    const slept = this.#now() - this.#sleptAt
    this.#isQuick = slept < this.#limits.quickMs
    this.#isQuickEnough = slept < this.#limits.walkQuickMs
    this.#sleptAt = undefined
  }

  /** Nothing came in that time: the thread sleeps until something does. */
  gaveUp(): void {
    this.#isQuick = this.#isQuickEnough = false
    this.#sleptAt = this.#now()
  }
}
