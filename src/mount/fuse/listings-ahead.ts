import { LRUCache } from 'lru-cache'
import {
  LISTINGS_AHEAD_BYTES_MAX,
  LISTINGS_AHEAD_FOLLOWERS_MAX,
  LISTINGS_AHEAD_MAX,
} from '../../support/limits.ts'
import type { InodeNumber, Tree } from '../tree/interface.ts'
import type { DevicePages } from './device.ts'
import type { Listing, ListingPool } from './listing.ts'
import { ROOT_NODE } from './protocol.ts'

/** A page of a listing, by what a request for it says. */
interface Page {
  readonly inode: InodeNumber
  readonly cookie: number
  readonly size: number
}

interface Kept {
  readonly page: Page
  readonly listing: Listing
  /** In the device. */
  readonly place: number
}

/**
 * Puts together the pages of listings that will probably be asked for next, while a guest works on the last one: it takes that in
 * pages of 4 KiB, and waits for each. After a page comes the next one of its directory, and after a directory the next one in the
 * listing that it was found in, once somebody went from one to the other. The entries hold references from then on, as if the guest had
 * them; who asks for something else meanwhile loses nothing. A device that can gives a page by itself, as soon as it is asked for.
 */
export class ListingsAhead {
  readonly #tree: Tree
  readonly #listings: ListingPool
  readonly #pages: DevicePages | undefined
  /** The oldest first. */
  readonly #kept = new Map<string, Kept>()
  /** Of the device, that are free. */
  readonly #places = Array.from({ length: LISTINGS_AHEAD_MAX }, (_, place) => place)
  /** Which directory comes after another one in the listing of their parent. */
  readonly #followers = new LRUCache<InodeNumber, InodeNumber>({ max: LISTINGS_AHEAD_FOLLOWERS_MAX })
  readonly #wanted: Page[] = []
  #lastEnded: InodeNumber = ROOT_NODE
  #isWalking = false
  #open = true

  constructor(tree: Tree, listings: ListingPool, pages?: DevicePages) {
    this.#tree = tree
    this.#listings = listings
    this.#pages = pages
  }

  /** Somebody lists directories, and what they will ask for next is ready, or will be in a moment. */
  get isWalk(): boolean {
    return this.#wanted.length > 0 || this.#kept.size > 0
  }

  /** The page, the caller's from now on, if it is there. */
  take(page: Page): Listing | undefined {
    if (page.cookie === 0) this.#isWalking = this.#followers.get(this.#lastEnded) === page.inode
    const key = keyOf(page)
    const kept = this.#kept.get(key)
    if (kept) this.#remove(key, kept)
    return kept?.listing
  }

  /** The device gave a page to the guest. */
  given(): void {
    for (const { place, page } of this.#kept.values()) {
      if (place !== this.#pages?.given) continue
      const listing = this.take(page)!
      this.delivered(listing)
      this.#listings.give(listing)
      return
    }
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
    for (const [key, kept] of this.#kept) this.#discard(key, kept)
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
        this.#keep(page, listing)
        return
      }
      const drop = () => this.#giveBack(listing)
      listed.then(drop, drop)
      call.abort()
    } catch {
      this.#giveBack(listing)
    }
  }

  #keep(page: Page, listing: Listing): void {
    if (this.#kept.size === LISTINGS_AHEAD_MAX) this.#discard(...this.#kept.entries().next().value!)
    const place = this.#places.pop()!
    this.#kept.set(keyOf(page), { page, listing, place })
    // Where there is not even room for one entry, the answer is an error.
    if (!listing.tooSmall) this.#pages?.keep(place, page.inode, page.cookie, page.size, listing.bytes)
  }

  #discard(key: string, kept: Kept): void {
    this.#remove(key, kept)
    this.#giveBack(kept.listing)
  }

  #remove(key: string, { place }: Kept): void {
    this.#kept.delete(key)
    this.#places.push(place)
    this.#pages?.drop(place)
  }

  #giveBack(listing: Listing): void {
    listing.forget(this.#tree)
    this.#listings.give(listing)
  }
}

function keyOf({ inode, cookie, size }: Page): string {
  return `${inode} ${cookie} ${size}`
}
