import { availableParallelism } from 'node:os'
import { monotonicMs } from '../../support/clock.ts'
import {
  FUSE_PATIENCE_US,
  FUSE_QUICK_MS,
  GUEST_COMPANY_MS,
  GUEST_WALK_PATIENCE_US,
  GUEST_WALK_QUICK_MS,
} from '../../support/limits.ts'
import { Patience } from '../fuse/patience.ts'

const LIMITS = {
  us: FUSE_PATIENCE_US,
  quickMs: FUSE_QUICK_MS,
  walkUs: GUEST_WALK_PATIENCE_US,
  walkQuickMs: GUEST_WALK_QUICK_MS,
}

/** The guests of a process, which share a thread: one that is not alone is not waited for. */
export class GuestCompany {
  readonly #now: () => number
  #last: object | undefined
  #changedAt = Number.NEGATIVE_INFINITY

  constructor(now = monotonicMs) {
    this.#now = now
  }

  /** `guest` asked for something. */
  served(guest: object): void {
    if (this.#last === guest) return
    this.#last = guest
    this.#changedAt = this.#now()
  }

  isAlone(guest: object): boolean {
    return this.#last === guest && this.#now() - this.#changedAt > GUEST_COMPANY_MS
  }
}

/**
 * How long a guest that walks through directories is looked for before the thread sleeps. Telling us costs it an exit, and waking up
 * costs a processor that has gone to sleep, twice: ours, and that of whoever hands the answer to the guest. Sleeping through most of
 * the time and looking for the rest was tried: docs/decisions.md, "Virtual machines".
 */
export class GuestPatience {
  readonly #company: GuestCompany
  readonly #patience: Patience
  /** One processor is the guest's. */
  readonly #hasProcessors = availableParallelism() > 1

  constructor(company: GuestCompany, now = monotonicMs) {
    this.#company = company
    this.#patience = new Patience(now, LIMITS)
  }

  received(): void {
    this.#company.served(this)
    this.#patience.received()
  }

  /** 0: sleep at once. */
  microseconds(isExpected: boolean): number {
    return this.#hasProcessors && this.#company.isAlone(this) ? this.#patience.microseconds(isExpected) : 0
  }

  /** Nothing came in that time. */
  gaveUp(): void {
    this.#patience.gaveUp()
  }
}
