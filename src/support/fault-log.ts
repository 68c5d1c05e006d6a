import { FAULT_LOG_KINDS_MAX, FAULT_LOG_MS } from './limits.ts'
import type { Logger } from './log.ts'

/**
 * Tells of what goes wrong: once, and of the same thing again only after FAULT_LOG_MS. A client that tries again and
 * again, or somebody who wants to fill a disk, gets one line.
 */
export class FaultLog {
  readonly #logger: Logger
  readonly #now: () => number
  /** When each was logged last, the oldest first. */
  readonly #logged = new Map<string, number>()

  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger
    this.#now = now
  }

  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#isDue(fields, message)) this.#logger.warn(fields, message)
  }

  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#isDue(fields, message)) this.#logger.error(fields, message)
  }

  #isDue(fields: Readonly<Record<string, unknown>>, message: string): boolean {
    const key = JSON.stringify([fields, message])
    const last = this.#logged.get(key)
    const now = this.#now()
    if (last !== undefined && now - last < FAULT_LOG_MS) return false
    this.#logged.delete(key)
    this.#logged.set(key, now)
    if (this.#logged.size > FAULT_LOG_KINDS_MAX) this.#logged.delete(this.#logged.keys().next().value!)
    return true
  }
}
