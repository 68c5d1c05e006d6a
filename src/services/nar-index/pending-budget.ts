import { StoreError } from '../../support/errors.ts'
import { PENDING_NARINFO_BYTES_MAX, PENDING_NARINFOS_MAX } from '../../support/limits.ts'
import type { PendingNarInfo } from './interface.ts'

export interface PendingLimits {
  readonly count: number
  /** Of documents, in bytes. */
  readonly bytes: number
}

export const PENDING_LIMITS: PendingLimits = {
  count: PENDING_NARINFOS_MAX,
  bytes: PENDING_NARINFO_BYTES_MAX,
}

/** Counts the narinfos that wait. */
export class PendingBudget {
  readonly #limits: PendingLimits
  #count = 0
  #bytes = 0

  constructor(limits: PendingLimits) {
    this.#limits = limits
  }

  /** For one that comes in the place of `previous`, if there is one. Throws `exhausted`, and changes nothing then. */
  take({ document }: PendingNarInfo, previous: PendingNarInfo | undefined): void {
    const count = this.#count + (previous ? 0 : 1)
    const bytes = this.#bytes + document.length - (previous?.document.length ?? 0)
    if (count > this.#limits.count)
      throw tooMany(`${this.#limits.count} narinfos wait for their NARs already`)
    if (bytes > this.#limits.bytes)
      throw tooMany(`the narinfos that wait for their NARs have ${this.#bytes} bytes already`)
    this.#count = count
    this.#bytes = bytes
  }

  /** One that waits from before. */
  restore({ document }: PendingNarInfo): void {
    this.#count++
    this.#bytes += document.length
  }

  giveBack({ document }: PendingNarInfo): void {
    this.#count--
    this.#bytes -= document.length
  }
}

function tooMany(what: string): StoreError {
  return new StoreError('exhausted', `${what}: upload NARs first`)
}
