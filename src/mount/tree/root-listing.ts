import type { Node } from '../../model/castore/node.ts'
import type { RootNodes } from '../../services/pathinfos/root-nodes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { ROOT_HOLES_MAX } from '../../support/limits.ts'
import { sourceFailure } from './failures.ts'
import { nameKey } from './root-names.ts'
import type { FetchStats } from './stats.ts'

export interface RootListingEntry {
  readonly name: Uint8Array
  readonly node: Node
}

export interface RootListingOptions {
  readonly rootNodes: Pick<RootNodes, 'list'>
  readonly source: string
  /** A listing that begins earlier than this after the last one was complete sees the same. */
  readonly freshMs: number
  readonly namesMax: number
  readonly stats: FetchStats
  readonly now: () => number
  /** Ends what runs in the background. */
  readonly closing: AbortSignal
}

/** In the place of a name that was there once. */
export const GONE = Symbol('gone')

/**
 * The names at the root, in the order in which they became known. Places are only ever added, so that a
 * position stays what it was and a listing can be continued or repeated from anywhere, however slowly the
 * source tells its names and however small the reader's buffer is. When most places are of names that are gone, those that are
 * there move behind all others: who is in the middle of a listing then sees some twice, and misses none.
 */
export class RootListing {
  readonly #options: RootListingOptions
  #entries: (RootListingEntry | typeof GONE)[] = []
  /** The position of the first of them; there is nothing before it. */
  #first = 0
  readonly #positions = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  #wakeScheduled = false
  #running = false
  #failure: StoreError | undefined
  #completedAt = Number.NEGATIVE_INFINITY

  constructor(options: RootListingOptions) {
    this.#options = options
  }

  /** What was listed just now does not count for the next listing. */
  refreshNext(): void {
    this.#completedAt = Number.NEGATIVE_INFINITY
  }

  /** Where a listing goes on that came to `position`. */
  from(position: number): number {
    return Math.max(position, this.#first)
  }

  /** `undefined`: nothing yet. For positions of `from`, and behind them. */
  at(position: number): RootListingEntry | typeof GONE | undefined {
    return this.#entries[position - this.#first]
  }

  /** A listing begins: asks the source again, unless that is going on already or was done just now. */
  begin(): void {
    const { stats, now, freshMs } = this.#options
    stats.asked++
    if (this.#running) stats.joined++
    else if (now() - this.#completedAt < freshMs) stats.cached++
    else void this.#refresh()
  }

  /**
   * Waits until there is an entry at `position` (true), or it is certain that there is none (false). Throws
   * when the source failed: a listing that is cut short must not look complete.
   */
  async has(position: number, call: Call | undefined): Promise<boolean> {
    while (position >= this.#first + this.#entries.length) {
      throwIfAborted(call?.signal)
      if (!this.#running) {
        if (this.#failure) throw this.#failure
        return false
      }
      await this.#change(call?.signal)
    }
    return true
  }

  async #refresh(): Promise<void> {
    const { rootNodes, source, stats, now, closing } = this.#options
    this.#running = true
    this.#failure = undefined
    this.#closeHoles()
    stats.fetched++
    const seen = new Set<string>()
    try {
      for await (const entry of rootNodes.list({ signal: closing })) seen.add(this.#add(entry))
      this.#completedAt = now()
      this.#dropUnseen(seen)
    } catch (error) {
      if (!closing.aborted) stats.failed++
      this.#failure = sourceFailure('the list of store paths', source, error)
    } finally {
      this.#running = false
      this.#wake()
    }
  }

  /** Only a listing that was complete tells what is gone. */
  #dropUnseen(seen: ReadonlySet<string>): void {
    if (seen.size === this.#positions.size) return
    for (const [key, position] of this.#positions) {
      if (seen.has(key)) continue
      this.#positions.delete(key)
      this.#entries[position - this.#first] = GONE
    }
  }

  /** A store in which paths come and go would fill the memory with places of those that went. */
  #closeHoles(): void {
    const there = this.#positions.size
    if (this.#entries.length - there <= Math.max(there, ROOT_HOLES_MAX)) return
    const entries = this.#entries.filter((entry) => entry !== GONE)
    this.#first += this.#entries.length
    this.#entries = entries
    for (const [index, { name }] of entries.entries()) this.#positions.set(nameKey(name), this.#first + index)
  }

  #add(entry: RootListingEntry): string {
    const key = nameKey(entry.name)
    const known = this.#positions.get(key)
    if (known !== undefined) {
      this.#entries[known - this.#first] = entry
      return key
    }
    const { namesMax } = this.#options
    if (this.#positions.size >= namesMax)
      throw new StoreError(
        'exhausted',
        `there are more than ${namesMax} store paths, mount without listing the root`,
      )
    this.#positions.set(key, this.#first + this.#entries.length)
    this.#entries.push(entry)
    this.#scheduleWake()
    return key
  }

  /** Who waits is woken after this turn of the event loop, to find all that came with it. */
  #scheduleWake(): void {
    if (this.#wakeScheduled || this.#waiting.size === 0) return
    this.#wakeScheduled = true
    setImmediate(() => this.#wake())
  }

  #wake(): void {
    this.#wakeScheduled = false
    for (const resume of this.#waiting) resume()
    this.#waiting.clear()
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const resume = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.delete(resume)
        reject(StoreError.from(signal?.reason))
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.add(resume)
    })
  }
}
