import { PROFILE_ENTRIES_MAX } from '../../support/limits.ts'
import type { InodeNumber } from './interface.ts'
import type { ProfileEntry } from './profile.ts'
import type { Range } from './read-ahead.ts'

interface Touched {
  readonly path: readonly Uint8Array[]
  range?: Range
}

/** Remembers what was looked into and read, each once, in the order of the first touch. */
export class AccessRecorder {
  readonly #touched: Touched[] = []
  readonly #byInode = new Map<InodeNumber, Touched[]>()

  get entries(): readonly ProfileEntry[] {
    return this.#touched
  }

  /** `pathOf` is asked once for each inode; what has no path (any more) is left out. */
  listed(inode: InodeNumber, pathOf: () => readonly Uint8Array[] | undefined): void {
    if (this.#byInode.has(inode)) return
    const path = this.#isFull ? undefined : pathOf()
    if (path) this.#add(inode, { path })
  }

  read(inode: InodeNumber, range: Range, pathOf: () => readonly Uint8Array[] | undefined): void {
    const known = this.#byInode.get(inode) ?? []
    for (const touched of known) if (absorb(touched, range)) return
    const path = this.#isFull ? undefined : (known[0]?.path ?? pathOf())
    if (path) this.#add(inode, { path, range })
  }

  get #isFull(): boolean {
    return this.#touched.length >= PROFILE_ENTRIES_MAX
  }

  #add(inode: InodeNumber, touched: Touched): void {
    this.#touched.push(touched)
    const known = this.#byInode.get(inode)
    if (known) known.push(touched)
    else this.#byInode.set(inode, [touched])
  }
}

/** Whether `range` touches what was recorded, which then grows by it. */
function absorb(touched: Touched, { start, end }: Range): boolean {
  const known = touched.range
  if (!known || start > known.end || end < known.start) return false
  touched.range = { start: Math.min(start, known.start), end: Math.max(end, known.end) }
  return true
}
