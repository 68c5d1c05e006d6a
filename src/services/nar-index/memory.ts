import { hex } from '../../support/bytes.ts'
import { NAR_INDEX_MEMORY_ENTRIES_MAX } from '../../support/limits.ts'
import type { NarIndex, PendingNarInfo, UploadedNar } from './interface.ts'
import { PENDING_LIMITS, PendingBudget, type PendingLimits } from './pending-budget.ts'

export interface MemoryNarIndexLimits {
  readonly nars: number
  readonly pending: PendingLimits
}

const LIMITS: MemoryNarIndexLimits = { nars: NAR_INDEX_MEMORY_ENTRIES_MAX, pending: PENDING_LIMITS }

/** Knows it until the process ends; of NARs the latest only. */
export function memoryNarIndex(limits: Partial<MemoryNarIndexLimits> = {}): NarIndex {
  return new MemoryNarIndex({ ...LIMITS, ...limits })
}

class MemoryNarIndex implements NarIndex {
  readonly #narsMax: number
  readonly #budget: PendingBudget
  /** The oldest first. */
  readonly #nars = new Map<string, UploadedNar>()
  /** By the file that is awaited, then by output hash. */
  readonly #pending = new Map<string, Map<string, PendingNarInfo>>()

  constructor({ nars, pending }: MemoryNarIndexLimits) {
    this.#narsMax = nars
    this.#budget = new PendingBudget(pending)
  }

  async get(fileSha256: Uint8Array): Promise<UploadedNar | undefined> {
    return this.#nars.get(hex(fileSha256))
  }

  async put(fileSha256: Uint8Array, nar: UploadedNar): Promise<void> {
    const key = hex(fileSha256)
    this.#nars.delete(key)
    this.#nars.set(key, nar)
    if (this.#nars.size > this.#narsMax) this.#nars.delete(this.#nars.keys().next().value!)
  }

  async addPending(pending: PendingNarInfo): Promise<void> {
    const awaited = hex(pending.awaited)
    const waiting = this.#pending.get(awaited) ?? new Map<string, PendingNarInfo>()
    const key = hex(pending.outputHash)
    this.#budget.take(pending, waiting.get(key))
    this.#pending.set(awaited, waiting.set(key, pending))
  }

  async pendingOf(fileSha256: Uint8Array): Promise<readonly PendingNarInfo[]> {
    return [...(this.#pending.get(hex(fileSha256))?.values() ?? [])]
  }

  async *listPending(): AsyncGenerator<PendingNarInfo> {
    for (const waiting of [...this.#pending.values()]) yield* [...waiting.values()]
  }

  async removePending({ awaited, outputHash }: PendingNarInfo): Promise<void> {
    const waiting = this.#pending.get(hex(awaited))
    const current = waiting?.get(hex(outputHash))
    if (!waiting || !current) return
    waiting.delete(hex(outputHash))
    this.#budget.giveBack(current)
    if (waiting.size === 0) this.#pending.delete(hex(awaited))
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
