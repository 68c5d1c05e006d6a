import type { LocalChunkSource } from '../../services/blobs/chunk-places.ts'
import type { Call } from '../../support/call.ts'
import type { InodeTables } from './inode-tables.ts'
import type { NativeTree } from './native-tree.ts'
import type { ReadPlan } from './read-plan.ts'

export type { LocalChunkSource }

/** What was asked for: at once when it is known, later when it must be fetched. The hot path allocates no promise. */
export type Soon<T> = T | Promise<T>

/** Number of an inode as the kernel (and a guest) knows it: 1 is the root; below 2^53; never reused for another. */
export type InodeNumber = number

export interface Attributes {
  /** What `stat` shows as st_ino: derived from content (files, symlinks) or place (directories), so that it is stable. */
  readonly ino: bigint
  readonly kind: 'directory' | 'file' | 'symlink'
  /** Bytes; for a directory the size its parent records, for a symlink the length of its target. */
  readonly size: bigint
  readonly executable: boolean
}

export interface TreeEntry {
  readonly inode: InodeNumber
  readonly attributes: Attributes
}

/** Takes directory entries one by one; returns false when an entry did not fit (it was not taken). */
export interface EntrySink {
  /** `cookie`: where listing goes on after this entry. Without `remember`, `entry.inode` is 0: none was handed out. */
  add(name: Uint8Array, entry: TreeEntry, cookie: number): boolean
  /**
   * As `add` for all entries of a directory from `cookie` on, remembered; a sink without this takes them one by one. The
   * inodes of those that it took.
   */
  addPacked?(entries: PackedEntries, cookie: number): Iterable<InodeNumber>
}

/** The entries of a directory in the memory that native/tree.c works on. */
export interface PackedEntries {
  readonly parent: InodeNumber
  readonly encoded: Uint8Array
  readonly index: Uint32Array
  readonly native: NativeTree
  /** Of the inodes, until `makeRoom`. */
  readonly tables: InodeTables
  makeRoom(): void
  /** Takes note of the small files that were handed out: `FILL_RECORD`s, and how many bytes the files have. */
  listed(records: Uint8Array, contents: number): void
}

/**
 * The read-only filesystem below a mount, knowing nothing of FUSE or virtio. Names and targets are bytes.
 * Errors are StoreErrors; what a filesystem says in the normal course of things (no such entry, not a
 * directory) is `TreeFault`. A number that is not alive is `ESTALE` everywhere. Whatever answers `Soon` throws
 * at once or rejects.
 *
 * Life of an inode: `lookup` and every entry that a listing with `remember` hands out count one reference,
 * `forget` takes references back, and at zero the number is dead (its successor gets a new one).
 */
export interface Tree {
  /** `undefined`: no such entry. `expires` tells whether that may change (only at the root). */
  lookup(parent: InodeNumber, name: Uint8Array, call?: Call): Soon<TreeEntry | Missing>
  forget(inode: InodeNumber, references: number): void
  getattr(inode: InodeNumber): Attributes
  readlink(inode: InodeNumber): Uint8Array
  /**
   * Hands out entries from `cookie` (0 is the start) until the sink is full or the end is reached. Entries are
   * in byte order in directories, in a stable append-only order in the root. With `remember`, an entry that
   * the sink took holds a reference.
   */
  readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean, call?: Call): Soon<void>
  /** The bytes from `offset` on: exactly `size` of them, or fewer at the end of the file; in pieces, not copied. */
  read(inode: InodeNumber, offset: number, size: number, call?: Call): Soon<readonly Uint8Array[]>
  /** Names of extended attributes, without terminators; empty when there are none. */
  listxattr(inode: InodeNumber): readonly string[]
  /** `undefined`: no such attribute. */
  getxattr(inode: InodeNumber, name: string): Uint8Array | undefined
  statfs(): Statfs
  /** The contents of a file as a file of this machine, if they are one; `undefined` where they must be read here. */
  localFile?(inode: InodeNumber, call?: Call): Promise<RawFile | undefined>
  /**
   * Writes down which chunks a read has to bring together. False where that is not known, or is for `read` to tell: such a
   * read goes the usual way. Whoever gets a plan reads by it, or else by `read`.
   */
  planRead?(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean
  /**
   * Takes note of a read that was planned, and writes down likewise what is probably read next; false when that is not known, or
   * was written down before.
   */
  planAhead?(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean
  /**
   * Finds out what `planRead` lacks for this file: `undefined` when that is nothing, or it is no file. Never rejects: whoever reads
   * the file meets what is wrong.
   */
  listChunks?(inode: InodeNumber, call: Call): Promise<void> | undefined
  /** From now on `gone` hears of names at the root that are no more what was said of them. */
  onRootChange?(gone: (name: Uint8Array) => void): void
  /** From now on what is likely to be read soon is given to `filler`. A tree without this gives nothing. */
  fillAhead?(filler: PageFiller): void
  /** From now on what is likely to be listed soon is given to `preparer`. A tree without this gives nothing. */
  listAhead?(preparer: ListingPreparer): ListedAhead
  /**
   * A listing or a read was answered, or a thread is at it: while they work on that, what they probably want next may be read or pushed,
   * in less than a millisecond. True: something is left, for when it is called again.
   */
  answered?(): boolean
}

/**
 * Puts contents where readers find them without asking: the kernel's page cache. It works beside us and owes no
 * answer; what it cannot do is fetched when it is read.
 */
export interface PageFiller {
  /**
   * Takes files in the form of `FILL_RECORD` (fill-ahead.ts), and may write their places into that; the urgent ones come next.
   * False: it has enough to do, and took none.
   */
  fill(records: Uint8Array, isUrgent: boolean): boolean
  /** Has `hasRoom` called when more can be taken after something was not. Without this, whoever has more asks again some time. */
  onRoom?(hasRoom: () => void): void
}

/** Answers listings where they are asked for, without asking the tree. */
export interface ListingPreparer {
  /**
   * The directory is likely to be listed, or goes on to be (`isBegun`); its memory is copied. Inodes may be made for its entries, and
   * others forgotten that were made in vain.
   */
  prepare(inode: InodeNumber, encoded: Uint8Array, index: Uint32Array, isBegun: boolean): void
}

/** What a tree does for a `ListingPreparer`. */
export interface ListedAhead {
  /** Of the inodes, until the tree is asked for anything. */
  readonly tables: InodeTables
  /** A walk goes where it was expected to, and what it will ask for next is prepared. */
  readonly isWalk: boolean
  /** Entries were handed out, each with a reference. */
  answered(listing: AnsweredListing): void
}

export interface AnsweredListing {
  readonly inode: InodeNumber
  readonly cookie: number
  /** Of the directory. */
  readonly encodedBytes: number
  /** As `PackedEntries.listed`. */
  readonly records: Uint8Array
  readonly contents: number
}

/** Exactly the contents of a file, verified. Open for reading until it is disposed of. */
export interface RawFile extends AsyncDisposable {
  readonly fd: number
}

/** Nothing is there under that name. `forever`: nor will it ever be, so the absence may be cached. */
export interface Missing {
  readonly missing: true
  readonly forever: boolean
}

export interface Statfs {
  /** In units of `blockSize`: what the paths seen so far hold, and inodes known. */
  readonly blockSize: number
  readonly blocks: bigint
  readonly files: bigint
}

/** What a filesystem answers in the normal course of things; each is an errno of the same name. */
export type TreeFaultCode = 'ENOENT' | 'ENOTDIR' | 'EISDIR' | 'EINVAL' | 'EPERM' | 'ESTALE'

export class TreeFault extends Error {
  override readonly name = 'TreeFault'
  readonly code: TreeFaultCode

  constructor(code: TreeFaultCode) {
    super(code)
    this.code = code
  }
}
