import { LRUCache } from 'lru-cache'
import {
  LISTINGS_AHEAD_BYTES_MAX,
  LISTINGS_AHEAD_FOLLOWERS_MAX,
  LISTINGS_AHEAD_MAX,
} from '../../support/limits.ts'
import type { InodeNumber, Tree } from '../tree/interface.ts'
import type { Listing, ListingPool } from './listing.ts'
import { ROOT_NODE } from './protocol.ts'

/** A page of a listing, by what a request for it says. */
interface Page {
  readonly inode: InodeNumber
  readonly cookie: number
  readonly size: number
}

/**
 * Puts together the pages of listings that will probably be asked for next, while a guest works on the last one: it takes that in
 * pages of 4 KiB, and waits for each. After a page comes the next one of its directory, and after a directory the next one in the
 * listing that it was found in, once somebody went from one to the other. The entries hold references from then on, as if the guest had
 * them; who asks for something else meanwhile loses nothing.
 */
export class ListingsAhead {
  readonly #tree: Tree
  readonly #listings: ListingPool
  /** The oldest first. */
  readonly #kept = new Map<string, Listing>()
  /** Which directory comes after another one in the listing of their parent. */
  readonly #followers = new LRUCache<InodeNumber, InodeNumber>({ max: LISTINGS_AHEAD_FOLLOWERS_MAX })
  readonly #wanted: Page[] = []
  #lastEnded: InodeNumber = ROOT_NODE
  #isWalking = false
  #open = true

  constructor(tree: Tree, listings: ListingPool) {
    this.#tree = tree
    this.#listings = listings
  }

  /** Somebody lists directories, and what they will ask for next is ready, or will be in a moment. */
  get isWalk(): boolean {
    return this.#wanted.length > 0 || this.#kept.size > 0
  }

  /** The page, the caller's from now on, if it is there. */
  take(page: Page): Listing | undefined {
    if (page.cookie === 0) this.#isWalking = this.#followers.get(this.#lastEnded) === page.inode
    const key = keyOf(page)
    const listing = this.#kept.get(key)
    this.#kept.delete(key)
    return listing
  }

  /** The guest got this page. */
  delivered(listing: Listing): void {
    const { inode, size } = listing
    if (size > LISTINGS_AHEAD_BYTES_MAX) return
    this.#noteFollowers(listing)
    if (listing.isCut) {
      this.#want({ inode, cookie: listing.nextCookie, size })
      return
    }
    // The end is told twice: by a page that is not full, and by an empty one, which is the last that is asked for.
    this.#lastEnded = inode
    const follower = this.#isWalking ? this.#followers.get(inode) : undefined
    if (follower !== undefined) this.#want({ inode: follower, cookie: 0, size })
  }

  close(): void {
    this.#open = false
    for (const [key, listing] of this.#kept) this.#drop(listing, key)
  }

  #noteFollowers(listing: Listing): void {
    let last: InodeNumber | undefined
    for (const directory of listing.directories()) {
      if (last !== undefined) this.#followers.set(last, directory)
      last = directory
    }
  }

  /** Not at once: the guest is waiting for what lies in its queues. */
  #want(page: Page): void {
    if (this.#wanted.push(page) > LISTINGS_AHEAD_MAX) this.#wanted.shift()
    else if (this.#wanted.length === 1) setImmediate(() => this.#prepareWanted())
  }

  #prepareWanted(): void {
    for (const page of this.#wanted.splice(0))
      if (this.#open && !this.#kept.has(keyOf(page))) this.#prepare(page)
  }

  /** What is not at hand, or fails, is for whoever asks for it. */
  #prepare(page: Page): void {
    const listing = this.#listings.take()
    listing.reset(page.inode, page.size, true)
    const call = new AbortController()
    try {
      const listed = this.#tree.readdir(page.inode, page.cookie, listing, true, call)
      if (!(listed instanceof Promise)) {
        this.#keep(keyOf(page), listing)
        return
      }
      const drop = () => this.#drop(listing)
      listed.then(drop, drop)
      call.abort()
    } catch {
      this.#drop(listing)
    }
  }

  #keep(key: string, listing: Listing): void {
    this.#kept.set(key, listing)
    if (this.#kept.size <= LISTINGS_AHEAD_MAX) return
    const [oldest, unwanted] = this.#kept.entries().next().value!
    this.#drop(unwanted, oldest)
  }

  #drop(listing: Listing, key?: string): void {
    if (key !== undefined) this.#kept.delete(key)
    listing.forget(this.#tree)
    this.#listings.give(listing)
  }
}

function keyOf({ inode, cookie, size }: Page): string {
  return `${inode} ${cookie} ${size}`
}
