import { LRUCache } from 'lru-cache'
import {
  MOUNT_LARGE_READ_BYTES_MIN,
  MOUNT_READ_AHEAD_BYTES,
  MOUNT_READ_AHEAD_BYTES_MAX,
  MOUNT_READ_AHEAD_BYTES_MIN,
  MOUNT_READ_AHEAD_FILES_MAX,
  MOUNT_READ_AHEAD_READS,
  MOUNT_WHOLE_BYTES_MAX,
} from '../../support/limits.ts'
import type { InodeNumber } from './interface.ts'

interface Progress {
  /** Where a reader that reads in order comes next. */
  expected: number
  /** Bytes to be fetched beyond what is read; 0 until there is evidence. */
  window: number
  /** Up to where that was asked for already. */
  ahead: number
  /** What large reads asked for so far, and what was fetched beside that on their evidence, in bytes. */
  large: number
  beside: number
}

/** A range of bytes of a file, half-open. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** What is known of where the contents come from. */
export interface ReadSource {
  readonly isFar: boolean
  /** What the read asks for has not come yet. */
  readonly isWaitedFor: boolean
}

/**
 * Tells from the order of the reads of a file what will be read next. The kernel opens no files here (OPEN is
 * answered with ENOSYS), so this is kept per inode, and only for the files read last.
 */
export class ReadAhead {
  readonly #files: LRUCache<InodeNumber, Progress>
  readonly #bytesMax: number
  readonly #stepBytes: number
  /** Of which files the last reads in order were. */
  readonly #lastReads: InodeNumber[] = []

  /** `bytesMax`: what is fetched beyond a read; `stepBytes`: how much of it at a time, at the least. */
  constructor({ bytesMax = MOUNT_READ_AHEAD_BYTES, stepBytes = 1 } = {}) {
    this.#bytesMax = bytesMax
    this.#stepBytes = stepBytes
    this.#files = new LRUCache({ max: MOUNT_READ_AHEAD_FILES_MAX })
  }

  get files(): number {
    return this.#files.size
  }

  /**
   * A large read of a file that comes from afar. The kernel asks for so much at once when a program is mapped into memory, and
   * then goes to and fro in it; most of it is touched in the end. So as much again as was asked for is worth fetching, from
   * there on: few round trips instead of one for each piece, and never more than twice what was asked for.
   */
  beside(inode: InodeNumber, { start, end }: Range, fileSize: number): Range | undefined {
    const progress = this.#files.get(inode)
    if (!progress || end - start < MOUNT_LARGE_READ_BYTES_MIN) return undefined
    progress.large += end - start
    const to = Math.min(end + progress.large - progress.beside, end + MOUNT_READ_AHEAD_BYTES, fileSize)
    if (to <= end) return undefined
    progress.beside += to - end
    return { start: end, end: to }
  }

  /**
   * Takes note of the read of `start` to `end` and returns what is worth fetching now, if anything. The first
   * read of a file is no evidence, wherever it begins: many programs look at the first bytes only.
   */
  next(inode: InodeNumber, { start, end }: Range, fileSize: number, from?: ReadSource): Range | undefined {
    const progress = this.#files.get(inode)
    if (progress?.expected !== start) {
      const { large = 0, beside = 0 } = progress ?? {}
      this.#files.set(inode, { expected: end, window: 0, ahead: end, large, beside })
      return undefined
    }
    progress.expected = end
    // From afar every doubling is a round trip; large reads are the evidence that saves two of them.
    const isSure = progress.window === 0 && end - start >= MOUNT_LARGE_READ_BYTES_MIN && from?.isFar
    const first = isSure ? MOUNT_WHOLE_BYTES_MAX : MOUNT_READ_AHEAD_BYTES_MIN
    progress.window = Math.min(Math.max(progress.window * 2, first), this.#windowMax(inode, progress, from))
    const begin = Math.max(end, progress.ahead)
    const to = Math.min(end + progress.window, fileSize)
    if (begin >= to || (to - begin < this.#stepBytes && to < fileSize)) return undefined
    progress.ahead = to
    return { start: begin, end: to }
  }

  #windowMax(inode: InodeNumber, { window }: Progress, from: ReadSource | undefined): number {
    const isTooLittle = from?.isFar && from.isWaitedFor
    const alone = isTooLittle ? MOUNT_READ_AHEAD_BYTES_MAX : Math.max(window, this.#bytesMax)
    this.#lastReads.push(inode)
    if (this.#lastReads.length > MOUNT_READ_AHEAD_READS) this.#lastReads.shift()
    return Math.min(alone, Math.floor(MOUNT_READ_AHEAD_BYTES_MAX / new Set(this.#lastReads).size))
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
