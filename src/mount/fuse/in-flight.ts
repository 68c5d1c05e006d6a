import { type PendingRequest, uniqueKey } from './pending.ts'
import { Opcode, ROOT_NODE } from './protocol.ts'

/** Requests that wait for the tree. Most are answered at once and never come here. */
export class InFlight {
  readonly #pending = new Map<bigint, PendingRequest>()

  get count(): number {
    return this.#pending.size
  }

  /** `late` is called when it has waited for `ms`. */
  add(pending: PendingRequest, ms: number, late: () => void): void {
    this.#pending.set(pending.key, pending)
    pending.timer = setTimeout(late, ms)
  }

  /** It waits no longer than `ms` from now on. */
  shorten(pending: PendingRequest, ms: number, late: () => void): void {
    clearTimeout(pending.timer)
    pending.timer = setTimeout(late, ms)
  }

  /** It has its answer. */
  remove(pending: PendingRequest): void {
    if (!pending.timer) return
    clearTimeout(pending.timer)
    this.#pending.delete(pending.key)
  }

  find(uniqueLow: number, uniqueHigh: number): PendingRequest | undefined {
    return this.#pending.get(uniqueKey(uniqueLow, uniqueHigh))
  }

  all(): PendingRequest[] {
    return [...this.#pending.values()]
  }

  /** Whether somebody waits for a name in the root. */
  get looksUpInRoot(): boolean {
    for (const { opcode, nodeid } of this.#pending.values())
      if (opcode === Opcode.LOOKUP && nodeid === ROOT_NODE) return true
    return false
  }
}
