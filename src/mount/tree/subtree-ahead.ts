import { LRUCache } from 'lru-cache'
import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import { withDeadline } from '../../support/call.ts'
import {
  MOUNT_CALL_MS_MAX,
  SUBTREE_ENTRIES_MAX,
  SUBTREE_FAR_MS,
  SUBTREE_LATENCY_MS,
  SUBTREE_PARENTS_MAX,
  SUBTREES_AT_ONCE_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { FetchStats } from './stats.ts'

export interface SubtreeAheadOptions {
  readonly directories: Pick<DirectoryService, 'getRecursive'>
  /** Takes what came, for whoever asks for it next. */
  readonly keep: (directory: Directory) => void
  readonly stats: FetchStats
  readonly logger: Logger
  /** Ends what runs in the background. */
  readonly closing: AbortSignal
}

/** Fetches that are remembered: the fastest of them tells how far the source is, the others how busy we are. */
const FETCHES_REMEMBERED = 8

/** Directories of one parent that had to be fetched one by one before the rest is fetched at once. */
const MISSES_ENOUGH = 2

/**
 * Fetches a whole subtree with one call once a walk goes through it. A walk asks for one directory after the other,
 * and over a network each of them costs a round trip; the closure of their parent costs one.
 */
export class SubtreeAhead {
  readonly #options: SubtreeAheadOptions
  /** How many directories below a parent were missing. */
  readonly #misses = new LRUCache<string, number>({ max: SUBTREE_PARENTS_MAX })
  readonly #running = new Map<string, Promise<void>>()
  readonly #latencies: number[] = []

  constructor(options: SubtreeAheadOptions) {
    this.#options = options
  }

  /**
   * A store path is looked up: whoever does that goes into it. Over a network all of its directories cost no more time than
   * the first of them, and are hundredths of its contents.
   */
  entered(storePath: Digest): void {
    if (this.#latencies.length > 0 && Math.min(...this.#latencies) >= SUBTREE_FAR_MS) this.#fetch(storePath)
  }

  /** All directories of a store path of which many will be needed; resolves when they came, or cannot be had. */
  all(storePath: Digest): Promise<void> {
    return this.#running.get(storePath.key) ?? this.#start(storePath)
  }

  /** The topmost directory of a store path had to be fetched, which took `ms` milliseconds. */
  fetchedTop(storePath: Digest, ms: number): void {
    const isFirst = this.#latencies.length === 0
    this.#note(ms)
    // Nobody knew how far the source is when it was looked up.
    if (isFirst) this.entered(storePath)
  }

  /** A directory below `parent` had to be fetched, which took `ms` milliseconds. */
  fetched(parent: Digest, ms: number): void {
    this.#note(ms)
    // What answers at once (a database on this machine) is no faster when it is asked for more.
    if (Math.min(...this.#latencies) < SUBTREE_LATENCY_MS) return
    const misses = (this.#misses.get(parent.key) ?? 0) + 1
    this.#misses.set(parent.key, misses)
    if (misses < MISSES_ENOUGH) return
    this.#misses.delete(parent.key)
    this.#fetch(parent)
  }

  #note(ms: number): void {
    this.#latencies.push(ms)
    if (this.#latencies.length > FETCHES_REMEMBERED) this.#latencies.shift()
  }

  #fetch(root: Digest): void {
    if (!this.#running.has(root.key) && this.#running.size < SUBTREES_AT_ONCE_MAX) void this.#start(root)
  }

  #start(root: Digest): Promise<void> {
    const running = this.#fetchSubtree(root).finally(() => this.#running.delete(root.key))
    this.#running.set(root.key, running)
    return running
  }

  /** Failures are nobody's concern here: whoever needs the directory asks for it and meets them again. */
  async #fetchSubtree(root: Digest): Promise<void> {
    const { directories, keep, stats, logger, closing } = this.#options
    if (closing.aborted) return
    using call = withDeadline({ signal: closing }, MOUNT_CALL_MS_MAX, 'fetching a subtree')
    stats.fetched++
    try {
      let entries = 0
      for await (const directory of directories.getRecursive(root, call)) {
        keep(directory)
        stats.fetchedBytes += directory.encoded.length
        entries += directory.entries.length
        if (entries > SUBTREE_ENTRIES_MAX) return
      }
    } catch (error) {
      stats.failed++
      logger.debug({ err: error }, 'fetching a subtree ahead failed')
    }
  }
}
