import { statfs } from 'node:fs/promises'
import { monotonicMs } from './clock.ts'
import {
  READ_ON_SPOT_MS_MAX,
  READ_ON_SPOT_REST_MAX,
  READ_ON_SPOT_REST_MIN,
  READ_ON_SPOT_TURN_MS_MAX,
} from './limits.ts'
import { Turn } from './turn.ts'

/** File systems of this machine (linux/magic.h, and what ZFS and bcachefs answer to statfs). */
const LOCAL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0xf2f52010, // F2FS
  0x2fc12fc1, // ZFS
  0xca451a4e, // bcachefs
  0x01021994, // tmpfs
  0x794c7630, // overlayfs
])

/** One for all: they share an event loop. */
const processTurn = new Turn(READ_ON_SPOT_TURN_MS_MAX)

/**
 * Decides whether files are read on the spot or in the thread pool. What lies in the page cache is there in 10 µs,
 * several times faster than a trip to the pool; what has to come from a disk would hold up everything else meanwhile.
 * Nobody tells the two apart beforehand, so the time is taken: after a read that had to wait, the pool is used for ten
 * times as long, and for twice that when the next one on the spot has to wait, too. So a slow disk costs the others a
 * tenth of the time at first and next to nothing soon; a read that was only interrupted by the scheduler costs little.
 */
export class ReadPace {
  readonly #isLocal: boolean
  readonly #now: () => number
  readonly #turn: { readonly isLong: boolean }
  #restUntil = 0
  #rest = READ_ON_SPOT_REST_MIN

  /** `isLocal`: only then is anything done on the spot. `now` (in milliseconds) and `turn` are for tests. */
  constructor(isLocal: boolean, now = monotonicMs, turn: { isLong: boolean } = processTurn) {
    this.#isLocal = isLocal
    this.#now = now
    this.#turn = turn
  }

  get isOnSpot(): boolean {
    return this.#isLocal && this.#now() >= this.#restUntil && !this.#turn.isLong
  }

  /** Waits for the next turn of the event loop when this one was long, so that what comes can be read on the spot again. */
  async breathe(): Promise<void> {
    if (this.#isLocal && this.#turn.isLong) await new Promise(setImmediate)
  }

  /** Reads, and takes the time. */
  run<T>(read: () => T): T {
    const began = this.#now()
    try {
      return read()
    } finally {
      this.#note(began, this.#now())
    }
  }

  #note(began: number, ended: number): void {
    const took = ended - began
    if (took <= READ_ON_SPOT_MS_MAX) {
      this.#rest = READ_ON_SPOT_REST_MIN
      return
    }
    this.#restUntil = ended + took * this.#rest
    this.#rest = Math.min(this.#rest * 2, READ_ON_SPOT_REST_MAX)
  }
}

/** Never on the spot on a file server: it may not answer for minutes, and nothing could interrupt that wait. */
export async function readPaceOf(folder: string | Buffer): Promise<ReadPace> {
  const { type } = await statfs(folder)
  return new ReadPace(LOCAL_FILE_SYSTEMS.has(type >>> 0))
}
