import { errnoName, opcodeName } from './protocol.ts'

/** Opcodes from here on are counted together. */
const OPCODES_COUNTED = 64

/** What a session did so far. */
export interface StatsSnapshot {
  /** By name of the opcode. */
  readonly requests: Readonly<Record<string, number>>
  /** By name of the errno. */
  readonly errors: Readonly<Record<string, number>>
  readonly bytesRead: number
  /** Processor time that went into looking for the next request instead of sleeping, in milliseconds; of guests only. */
  readonly lookedMs: number
  /** What was put into the kernel's page cache before it was asked for; zeros without that. */
  readonly filled: FillCounts
}

export interface FillCounts {
  readonly files: number
  readonly bytes: number
  /** Files that could not be had from the folder, or that the kernel had forgotten; whoever reads them asks. */
  readonly failed: number
}

const NOTHING_FILLED: FillCounts = { files: 0, bytes: 0, failed: 0 }

/** Counters of a session. Counting adds to an array; names are looked up when somebody asks. */
export class SessionStats {
  readonly #requests: number[] = []
  readonly #errors: number[] = []
  bytesRead = 0
  lookedUs = 0

  countRequest(opcode: number): void {
    // An unknown opcode is any 32-bit number: it must not grow the array.
    const slot = Math.min(opcode, OPCODES_COUNTED)
    this.#requests[slot] = (this.#requests[slot] ?? 0) + 1
  }

  countError(errno: number): void {
    this.#errors[errno] = (this.#errors[errno] ?? 0) + 1
  }

  /** `readElsewhere`: bytes that the kernel got without passing the session. */
  snapshot(filled: FillCounts = NOTHING_FILLED, readElsewhere = 0): StatsSnapshot {
    return {
      requests: byName(this.#requests, opcodeName),
      errors: byName(this.#errors, errnoName),
      bytesRead: this.bytesRead + readElsewhere,
      lookedMs: Math.round(this.lookedUs / 1000),
      filled,
    }
  }
}

function byName(counts: readonly number[], name: (index: number) => string): Record<string, number> {
  const named: Record<string, number> = {}
  // forEach leaves out what was never counted.
  counts.forEach((count, index) => {
    named[name(index)] = count
  })
  return named
}
