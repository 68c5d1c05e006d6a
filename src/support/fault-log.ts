import { FAULT_LOG_KINDS_MAX, FAULT_LOG_LINES_MAX, FAULT_LOG_MS } from './limits.ts'
import type { Logger } from './log.ts'

type Fields = Readonly<Record<string, unknown>>

/** What was logged of one code since its first fault of late. */
interface Burst {
  lines: number
  more: number
}

/**
 * Tells of what goes wrong: once, and of the same thing again only after FAULT_LOG_MS. A client that tries again and
 * again, or somebody who wants to fill a disk, gets one line. Of many different ones with the same `code` in that time
 * the first FAULT_LOG_LINES_MAX are told, and then how many more there were; `debug` has all of them.
 */
export class FaultLog {
  readonly #logger: Logger
  readonly #now: () => number
  /** When each was logged last, the oldest first. */
  readonly #logged = new Map<string, number>()
  readonly #bursts = new Map<unknown, Burst>()

  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger
    this.#now = now
  }

  warn(fields: Fields, message: string): void {
    if (this.#isDue(fields, message)) this.#logger[this.#levelOf(fields, 'warn')](fields, message)
  }

  error(fields: Fields, message: string): void {
    if (this.#isDue(fields, message)) this.#logger[this.#levelOf(fields, 'error')](fields, message)
  }

  #isDue(fields: Fields, message: string): boolean {
    const key = JSON.stringify([fields, message])
    const last = this.#logged.get(key)
    const now = this.#now()
    if (last !== undefined && now - last < FAULT_LOG_MS) return false
    this.#logged.delete(key)
    this.#logged.set(key, now)
    if (this.#logged.size > FAULT_LOG_KINDS_MAX) this.#logged.delete(this.#logged.keys().next().value!)
    return true
  }

  #levelOf({ code }: Fields, level: 'warn' | 'error'): 'warn' | 'error' | 'debug' {
    const burst = this.#bursts.get(code) ?? this.#beginBurst(code)
    if (burst.lines < FAULT_LOG_LINES_MAX) {
      burst.lines++
      return level
    }
    if (burst.more++ === 0)
      this.#logger.warn({ code }, 'too many failures to tell each; --log-level debug does')
    return 'debug'
  }

  #beginBurst(code: unknown): Burst {
    const burst = { lines: 0, more: 0 }
    this.#bursts.set(code, burst)
    setTimeout(() => {
      this.#bursts.delete(code)
      if (burst.more > 0) this.#logger.warn({ code, failures: burst.more }, 'there were more failures')
    }, FAULT_LOG_MS).unref()
    return burst
  }
}
