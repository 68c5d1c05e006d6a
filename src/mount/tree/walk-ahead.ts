import { LISTING_PREPARED_BYTES_MAX, TREE_DEPTH_MAX } from '../../support/limits.ts'
import type { DirectoryLoader } from './directory-loader.ts'
import { type InodeTable, ROOT_INODE } from './inode-table.ts'
import type { InodeNumber, ListingPreparer } from './interface.ts'
import type { KeptDirectory } from './kept-directory.ts'
import { nativeTree } from './native-tree.ts'

interface Expected {
  readonly inode: InodeNumber
  readonly directory: KeptDirectory | undefined
}

/**
 * Programs that walk through a tree list directory after directory in the order of their names, each before what comes after
 * it (find, tar, cp, du), and every one until it is said to have ended. So whatever is listed is made ready for being asked
 * for again; and while the kernel still makes inodes of it, the next one is read, verified and made ready: only what is on
 * this machine, one at a time, and as long as the walk goes where it was expected to go.
 */
export class WalkAhead {
  readonly #inodes: InodeTable
  readonly #directories: DirectoryLoader
  readonly #preparer: ListingPreparer
  /** Listed last, with what comes after it not looked for yet. */
  #listed: InodeNumber | undefined
  /** With its contents, if they are prepared. */
  #expected: Expected | undefined
  /** The same, to be read, or to be prepared if it was. */
  #next: Expected | undefined
  #isAsExpected = false

  constructor(inodes: InodeTable, directories: DirectoryLoader, preparer: ListingPreparer) {
    this.#inodes = inodes
    this.#directories = directories
    this.#preparer = preparer
  }

  /** What is listed now was expected, and what comes after it is prepared. */
  get isPrepared(): boolean {
    return this.#isAsExpected && this.#expected?.directory !== undefined
  }

  /** A directory begins to be listed. */
  listed(inode: InodeNumber): void {
    this.#isAsExpected = this.#expected?.inode === inode
    this.#listed = inode
  }

  /** Nothing else is to be done. One step, so that whoever asks for something waits for no more; true: there is another one. */
  prepare(): boolean {
    const listed = this.#listed
    this.#listed = undefined
    if (listed !== undefined) this.#expectAfter(listed)
    else if (this.#next) this.#goOn(this.#next)
    return this.#next !== undefined
  }

  #expectAfter(from: InodeNumber): void {
    const prepared = this.#isAsExpected ? this.#expected?.directory : undefined
    this.#expected = this.#next = undefined
    if (!this.#inodes.isAlive(from)) return
    const directory = prepared ?? this.#directories.peek(this.#inodes.digest(from))
    if (!prepared) this.#prepare(from, directory, true)
    const inode = this.#after(from, directory)
    if (inode === undefined) return
    this.#expected = { inode, directory: undefined }
    if (this.#isAsExpected) this.#next = this.#expected
  }

  #goOn({ inode, directory }: Expected): void {
    this.#next = undefined
    if (!this.#inodes.isAlive(inode)) return
    if (directory) {
      this.#prepare(inode, directory, false)
      this.#expected = { inode, directory }
      return
    }
    const read = this.#directories.readAhead(this.#inodes.digest(inode))
    if (read) this.#next = { inode, directory: read }
  }

  #prepare(inode: InodeNumber, directory: KeptDirectory | undefined, isBegun: boolean): void {
    const index = directory?.index
    if (!index || directory.size > LISTING_PREPARED_BYTES_MAX) return
    if (!isBegun) this.#inodes.makeRoom(index.length)
    this.#preparer.prepare(inode, directory.encoded, index, isBegun)
  }

  /** The first directory in this one, or else the next one beside it or beside one that holds it. */
  #after(inode: InodeNumber, directory: KeptDirectory | undefined): InodeNumber | undefined {
    let found = this.#directoryAfter(inode, directory, -1)
    for (let depth = 0; !found && depth < TREE_DEPTH_MAX; depth++) {
      const parent = this.#inodes.parent(inode)
      if (parent === ROOT_INODE || !this.#inodes.isAlive(parent)) return undefined
      const holder = this.#directories.peek(this.#inodes.digest(parent))
      found = this.#directoryAfter(parent, holder, this.#inodes.position(inode))
      inode = parent
    }
    return found || undefined
  }

  #directoryAfter(
    inode: InodeNumber,
    directory: KeptDirectory | undefined,
    position: number,
  ): InodeNumber | undefined {
    const index = directory?.index
    if (!index) return undefined
    return nativeTree()?.directoryAfter(this.#inodes.tables, directory.encoded, index, inode, position)
  }
}
