import type { Soon } from './interface.ts'
import type { ReadPlan } from './read-plan.ts'

/** Carries out plans, verifying what it reads. */
export interface PlannedReads {
  /**
   * The `size` bytes of a plan, which are good until the event loop turns, and at once only until the next read. `undefined`, at once or
   * later: they are to be had in the usual way, or an error is.
   */
  read(plan: ReadPlan, size: number): Soon<Uint8Array | undefined> | undefined
  /** What a plan wants will probably be read soon. Nobody hears what became of it but by reading. */
  keepAhead(plan: ReadPlan): void
}
