import type { Node } from '../../model/castore/node.ts'
import type { RootNodes } from '../../services/pathinfos/root-nodes.ts'
import { printable } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { type Semaphore, SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { sourceFailure } from './failures.ts'
import { type InodeTable, ROOT_INODE } from './inode-table.ts'
import { type EntrySink, type Missing, type Soon, type TreeEntry, TreeFault } from './interface.ts'
import { type ListedDirectory, offerEntry } from './offer-entry.ts'
import { GONE, type RootListing } from './root-listing.ts'
import { nameKey, type RootNames } from './root-names.ts'
import type { FetchStats } from './stats.ts'

export const MISSING_FOREVER: Missing = { missing: true, forever: true }
const MISSING_FOR_NOW: Missing = { missing: true, forever: false }

export interface RootDirectoryOptions {
  readonly rootNodes: Pick<RootNodes, 'canExist' | 'get' | 'getNow'>
  readonly source: string
  readonly inodes: InodeTable
  readonly names: RootNames
  readonly slots: Semaphore
  readonly stats: FetchStats
  /** Without one the root is not listed: EPERM. */
  readonly listing: RootListing | undefined
  /** Hears of every store path that was found. */
  readonly onFound?: ((basename: Uint8Array, node: Node) => void) | undefined
}

/**
 * Finds and lists names at the root. Absence is kept nowhere here: the kernel keeps it as long as it may, and then wants
 * to know.
 */
export class RootDirectory {
  readonly #options: RootDirectoryOptions
  readonly #flights = new SingleFlight<string, Node | undefined>()

  constructor(options: RootDirectoryOptions) {
    this.#options = options
  }

  lookup(name: Uint8Array, call: Call | undefined): Soon<TreeEntry | Missing> {
    const { rootNodes, inodes, names, stats } = this.#options
    const known = names.get(name)
    if (known === undefined && !rootNodes.canExist(name)) return MISSING_FOREVER
    stats.asked++
    if (known !== undefined) {
      stats.cached++
      return inodes.handOut(known)
    }
    const node = rootNodes.getNow?.(name)
    if (!node) return this.#ask(name, call)
    stats.fetched++
    return this.#found(name, node)
  }

  readdir(cookie: number, sink: EntrySink, remember: boolean, call: Call | undefined): Soon<void> {
    const { listing } = this.#options
    if (!listing) throw new TreeFault('EPERM')
    if (cookie === 0) listing.begin()
    const start = listing.from(cookie)
    // What is known is handed out before anything is waited for.
    if (this.#offerKnown(listing, start, sink, remember)) return
    return listing
      .has(start, call)
      .then((has) => void (has && this.#offerKnown(listing, listing.from(start), sink, remember)))
  }

  /** False when there was nothing to hand out. */
  #offerKnown(listing: RootListing, cookie: number, sink: EntrySink, remember: boolean): boolean {
    const { inodes, names } = this.#options
    const root: ListedDirectory = {
      ino: inodes.attributes(ROOT_INODE).ino,
      intern: (name, node) => names.intern(name, node),
      takeBack: (inode) => {
        if (inodes.forget(inode, 0)) names.release(inode)
      },
    }
    for (let position = cookie; ; position++) {
      const entry = listing.at(position)
      if (entry === undefined) return position > cookie
      if (entry !== GONE && offerEntry(inodes, sink, root, entry, position, remember) === undefined)
        return true
    }
  }

  async #ask(name: Uint8Array, call: Call | undefined): Promise<TreeEntry | Missing> {
    const { inodes, names, stats } = this.#options
    let started = false
    const asking = this.#flights.run(
      nameKey(name),
      (flightCall) => {
        started = true
        return this.#fetch(name, flightCall)
      },
      call,
    )
    if (!started) stats.joined++
    const node = await asking
    if (!node) return MISSING_FOR_NOW
    if (started) return this.#found(name, node)
    return inodes.handOut(names.intern(name, node))
  }

  #found(name: Uint8Array, node: Node): TreeEntry {
    const { inodes, names, onFound } = this.#options
    onFound?.(name, node)
    return inodes.handOut(names.intern(name, node))
  }

  async #fetch(name: Uint8Array, call: Call): Promise<Node | undefined> {
    const { rootNodes, source, slots, stats } = this.#options
    const release = await slots.acquire(1, call.signal)
    stats.fetched++
    try {
      return await rootNodes.get(name, call)
    } catch (error) {
      if (StoreError.from(error).code !== 'cancelled') stats.failed++
      throw sourceFailure(`store path ${printable(name)}`, source, error)
    } finally {
      release()
    }
  }
}
