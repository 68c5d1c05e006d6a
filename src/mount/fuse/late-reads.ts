import { monotonicMs } from '../../support/clock.ts'
import { MOUNT_DEADLINE_MEMORY_MS } from '../../support/limits.ts'
import type { InodeNumber } from '../tree/interface.ts'

/** More inodes than that are not remembered: then a read may take its deadline twice, and nothing else happens. */
const INODES_MAX = 1024

/**
 * Which inodes were just read in vain until the deadline. The kernel repeats a failed read-ahead as a read of one
 * page at once; without this a single `read` would take twice its deadline.
 */
export class LateReads {
  readonly #until = new Map<InodeNumber, number>()

  add(inode: InodeNumber): void {
    if (this.#until.size >= INODES_MAX) this.#until.clear()
    this.#until.set(inode, monotonicMs() + MOUNT_DEADLINE_MEMORY_MS)
  }

  has(inode: InodeNumber): boolean {
    // Nearly always empty, and this is asked for every read.
    if (this.#until.size === 0) return false
    const until = this.#until.get(inode)
    if (until === undefined) return false
    if (monotonicMs() < until) return true
    this.#until.delete(inode)
    return false
  }
}
