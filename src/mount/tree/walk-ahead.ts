import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import { TREE_DEPTH_MAX } from '../../support/limits.ts'
import type { DirectoryLoader } from './directory-loader.ts'
import { type InodeTable, ROOT_INODE } from './inode-table.ts'
import type { InodeNumber } from './interface.ts'
import { nativeTree } from './native-tree.ts'

/**
 * Programs that walk through a tree list directory after directory in the order of their names, each before what comes after
 * it (find, tar, cp, du). While the kernel still makes inodes of one, the next is read and verified: only from a database of
 * this machine, one at a time, and as long as the walk goes where it was expected to go.
 */
export class WalkAhead {
  readonly #inodes: InodeTable
  readonly #directories: DirectoryLoader
  /** Listed last, with what comes after it not looked for yet. */
  #listed: InodeNumber | undefined
  #expected: Digest | undefined
  #isAsExpected = false

  constructor(inodes: InodeTable, directories: DirectoryLoader) {
    this.#inodes = inodes
    this.#directories = directories
  }

  /** A directory begins to be listed. */
  listed(inode: InodeNumber, digest: Digest): void {
    this.#isAsExpected = this.#expected?.equals(digest) ?? false
    this.#listed = inode
  }

  /** Nothing else is to be done. */
  prepare(): void {
    const from = this.#listed
    if (from === undefined) return
    this.#listed = undefined
    this.#expected = this.#after(from)
    if (this.#isAsExpected && this.#expected) this.#directories.prefetchHere(this.#expected)
  }

  /** The first directory in this one, or else the next one beside it or beside one that holds it. */
  #after(inode: InodeNumber): Digest | undefined {
    if (!this.#inodes.isAlive(inode)) return undefined
    let found = this.#directoryAfter(inode, -1)
    for (let depth = 0; !found && depth < TREE_DEPTH_MAX; depth++) {
      const parent = this.#inodes.parent(inode)
      if (parent === ROOT_INODE || !this.#inodes.isAlive(parent)) return undefined
      found = this.#directoryAfter(parent, this.#inodes.position(inode))
      inode = parent
    }
    return found
  }

  #directoryAfter(inode: InodeNumber, position: number): Digest | undefined {
    const directory = this.#directories.peek(this.#inodes.digest(inode))
    const { encoded, index } = directory ?? {}
    if (!encoded || !index) return undefined
    const digest = new Uint8Array(BLAKE3_BYTES)
    return nativeTree()?.directoryAfter(encoded, index, position, digest)
      ? Digest.fromBytes(digest)
      : undefined
  }
}
