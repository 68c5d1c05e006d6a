import { LRUCache } from 'lru-cache'
import {
  MOUNT_READ_AHEAD_BYTES,
  MOUNT_READ_AHEAD_BYTES_MIN,
  MOUNT_READ_AHEAD_FILES_MAX,
} from '../../support/limits.ts'
import type { InodeNumber } from './interface.ts'

interface Progress {
  /** Where a reader that reads in order comes next. */
  expected: number
  /** Bytes to be fetched beyond what is read; 0 until there is evidence. */
  window: number
  /** Up to where that was asked for already. */
  ahead: number
}

/** A range of bytes of a file, half-open. */
export interface Range {
  readonly start: number
  readonly end: number
}

/**
 * Tells from the order of the reads of a file what will be read next. The kernel opens no files here (OPEN is
 * answered with ENOSYS), so this is kept per inode, and only for the files read last.
 */
export class ReadAhead {
  readonly #files: LRUCache<InodeNumber, Progress>

  constructor(filesMax = MOUNT_READ_AHEAD_FILES_MAX) {
    this.#files = new LRUCache({ max: filesMax })
  }

  get files(): number {
    return this.#files.size
  }

  /**
   * Takes note of the read of `start` to `end` and returns what is worth fetching now, if anything. The first
   * read of a file is no evidence, wherever it begins: many programs look at the first bytes only.
   */
  next(inode: InodeNumber, { start, end }: Range, fileSize: number): Range | undefined {
    const progress = this.#files.get(inode)
    if (progress?.expected !== start) {
      this.#files.set(inode, { expected: end, window: 0, ahead: end })
      return undefined
    }
    progress.expected = end
    progress.window = Math.min(
      Math.max(progress.window * 2, MOUNT_READ_AHEAD_BYTES_MIN),
      MOUNT_READ_AHEAD_BYTES,
    )
    const from = Math.max(end, progress.ahead)
    const to = Math.min(end + progress.window, fileSize)
    if (from >= to) return undefined
    progress.ahead = to
    return { start: from, end: to }
  }

  /** Of what `next` said, only this much was begun; the rest is said again. */
  reached(inode: InodeNumber, end: number): void {
    const progress = this.#files.peek(inode)
    if (progress) progress.ahead = Math.min(progress.ahead, end)
  }

  forget(inode: InodeNumber): void {
    this.#files.delete(inode)
  }
}
