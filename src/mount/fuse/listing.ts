import { FILL_FILE_BYTES_MAX, FUSE_LISTINGS_KEPT_MAX, FUSE_READ_BYTES_MAX } from '../../support/limits.ts'
import { FILL_RECORD } from '../tree/fill-ahead.ts'
import {
  type EntrySink,
  type InodeNumber,
  type PackedEntries,
  type Tree,
  type TreeEntry,
  TreeFault,
} from '../tree/interface.ts'
import { LIST_STATUS, PAGE } from '../tree/native-tree.ts'
import { type Owner, writeEntry } from './attributes.ts'
import { dataView, getU64, LITTLE_ENDIAN, setU64 } from './bytes.ts'
import { DIRENT, ENTRY_OUT, FILE_TYPE } from './protocol.ts'

/** With attributes and a name of one byte. */
const ENTRY_MIN_BYTES = ENTRY_OUT.bytes + DIRENT.bytes + DIRENT.align

/**
 * The body of a reply to READDIR or READDIRPLUS, filled entry by entry. Each request has one to itself, from
 * its first entry to its reply, because listing may wait for the store while others are served.
 */
export class Listing implements EntrySink {
  readonly #owner: Owner
  #bytes = new Uint8Array(0)
  #view = dataView(this.#bytes)
  #limit = 0
  #used = 0
  #overflowed = false
  #next = 0
  readonly #page = new Float64Array(PAGE.fields)
  #records = new Uint8Array(0)
  /** The directory. */
  inode: InodeNumber = 0
  /** Entries carry attributes, and a reference each (READDIRPLUS). */
  plus = false

  constructor(owner: Owner) {
    this.#owner = owner
    this.#page[PAGE.recordFileMax] = FILL_FILE_BYTES_MAX
  }

  /** Starts over, for a caller who has room for `size` bytes. */
  reset(inode: InodeNumber, size: number, plus: boolean): void {
    this.#limit = Math.min(size, FUSE_READ_BYTES_MAX)
    if (this.#bytes.length < this.#limit) {
      this.#bytes = new Uint8Array(this.#limit)
      this.#view = dataView(this.#bytes)
      this.#records = new Uint8Array(recordBytes(this.#limit))
    }
    this.#used = 0
    this.#overflowed = false
    this.#next = 0
    this.inode = inode
    this.plus = plus
  }

  add(name: Uint8Array, entry: TreeEntry, cookie: number): boolean {
    const start = this.#used
    const dirent = this.plus ? start + ENTRY_OUT.bytes : start
    const end = padded(dirent + DIRENT.bytes + name.length)
    if (end > this.#limit) {
      this.#overflowed = true
      return false
    }
    const view = this.#view
    if (this.plus) writeEntry(this.#bytes, view, start, entry, this.#owner)
    view.setBigUint64(dirent + DIRENT.ino, entry.attributes.ino, LITTLE_ENDIAN)
    setU64(view, dirent + DIRENT.off, cookie)
    view.setUint32(dirent + DIRENT.namelen, name.length, LITTLE_ENDIAN)
    view.setUint32(dirent + DIRENT.type, FILE_TYPE[entry.attributes.kind], LITTLE_ENDIAN)
    this.#bytes.set(name, dirent + DIRENT.bytes)
    this.#bytes.fill(0, dirent + DIRENT.bytes + name.length, end)
    this.#used = end
    this.#next = cookie
    return true
  }

  addPacked(entries: PackedEntries, cookie: number): Iterable<InodeNumber> {
    const start = this.#used
    const page = this.#page
    page[PAGE.position] = cookie
    page[PAGE.used] = this.#used
    page[PAGE.limit] = this.#limit
    page[PAGE.recordsUsed] = page[PAGE.recordsContents] = 0
    page[PAGE.uid] = this.#owner.uid
    page[PAGE.gid] = this.#owner.gid
    const { native, parent, encoded, index } = entries
    for (;;) {
      const [bytes, records] = [this.#bytes, this.#records]
      const status = native.listEntries(entries.tables, encoded, index, parent, bytes, records, page)
      this.#used = page[PAGE.used]!
      if (status === undefined) throw new TreeFault('ESTALE')
      this.#overflowed = status === LIST_STATUS.full
      if (status !== LIST_STATUS.noRoom) break
      entries.makeRoom()
    }
    this.#next = page[PAGE.position]!
    entries.listed(this.#records.subarray(0, page[PAGE.recordsUsed]), page[PAGE.recordsContents]!)
    return listedInodes(this.#view, start, this.#used)
  }

  /** Not even one entry had room: an empty reply would say that the directory ends here. */
  get tooSmall(): boolean {
    return this.#overflowed && this.#used === 0
  }

  /** What the caller had room for, in bytes. */
  get size(): number {
    return this.#limit
  }

  /** There are more entries, from `nextCookie` on. */
  get isCut(): boolean {
    return this.#overflowed
  }

  get nextCookie(): number {
    return this.#next
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#used)
  }

  /** Gives back the references of entries that the kernel never got to see. */
  forget(tree: Tree): void {
    if (this.plus) for (const inode of listedInodes(this.#view, 0, this.#used)) tree.forget(inode, 1)
    this.#used = 0
  }

  /** Of the entries, which have attributes, those that are directories. */
  directories(): Iterable<InodeNumber> {
    return listedInodes(this.#view, 0, this.#used, FILE_TYPE.directory)
  }
}

/** Of the entries from `at` to `end`, which have attributes; all, or those of one type. */
export function* listedInodes(
  view: DataView,
  at: number,
  end: number,
  type?: number,
): Generator<InodeNumber> {
  while (at < end) {
    const dirent = at + ENTRY_OUT.bytes
    if (type === undefined || view.getUint32(dirent + DIRENT.type, LITTLE_ENDIAN) === type)
      yield getU64(view, at + ENTRY_OUT.nodeid)
    at = padded(dirent + DIRENT.bytes + view.getUint32(dirent + DIRENT.namelen, LITTLE_ENDIAN))
  }
}

/** Room for a `FILL_RECORD` of each entry of a listing of so many bytes. */
export function recordBytes(listingBytes: number): number {
  return Math.ceil(listingBytes / ENTRY_MIN_BYTES + 1) * FILL_RECORD.bytes
}

/** Listings that nobody uses, so that a walk through many directories allocates one buffer. */
export class ListingPool {
  readonly #owner: Owner
  readonly #free: Listing[] = []

  constructor(owner: Owner) {
    this.#owner = owner
  }

  take(): Listing {
    return this.#free.pop() ?? new Listing(this.#owner)
  }

  give(listing: Listing): void {
    if (this.#free.length < FUSE_LISTINGS_KEPT_MAX) this.#free.push(listing)
  }
}

function padded(length: number): number {
  return Math.ceil(length / DIRENT.align) * DIRENT.align
}
