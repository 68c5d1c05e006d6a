import { monotonicMs } from '../../support/clock.ts'
import {
  FUSE_PATIENCE_US,
  FUSE_QUICK_MS,
  FUSE_WALK_PATIENCE_US,
  FUSE_WALK_QUICK_MS,
} from '../../support/limits.ts'

/**
 * How long to look for the next request before going to sleep. A program that reads file after file asks again within
 * microseconds, and waking an idle processor takes longer than to answer it. So whoever came soon after we fell asleep is waited
 * for the next time; and once that was in vain, only another one who comes so soon brings it back. A mount that nobody uses, or that
 * is asked now and then, never looks twice. Who walks through directories is waited for longer, while what they will ask for is ready: the
 * kernel works on a listing for some hundred microseconds. So is a script whose runtime asks of each file whether it is a terminal.
 */
export class Patience {
  readonly #now: () => number
  #sleptAt: number | undefined
  #isQuick = false
  #isQuickEnough = false

  /** Milliseconds on a clock that never goes back. */
  constructor(now = monotonicMs) {
    this.#now = now
  }

  /** `isExpected`: it is known that somebody will ask again soon. */
  microseconds(isExpected: boolean): number {
    if (isExpected && this.#isQuickEnough) return FUSE_WALK_PATIENCE_US
    return this.#isQuick ? FUSE_PATIENCE_US : 0
  }

  received(): void {
    if (this.#sleptAt === undefined) return
    const slept = this.#now() - this.#sleptAt
    this.#isQuick = slept < FUSE_QUICK_MS
    this.#isQuickEnough = slept < FUSE_WALK_QUICK_MS
    this.#sleptAt = undefined
  }

  /** Nothing came in that time: the thread sleeps until something does. */
  gaveUp(): void {
    this.#isQuick = this.#isQuickEnough = false
    this.#sleptAt = this.#now()
  }
}
