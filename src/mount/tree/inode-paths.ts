import { printable } from '../../support/bytes.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import { TREE_DEPTH_MAX } from '../../support/limits.ts'
import type { DirectoryLoader } from './directory-loader.ts'
import { type InodeTable, ROOT_INODE } from './inode-table.ts'
import type { InodeNumber, Soon } from './interface.ts'
import type { RootNames } from './root-names.ts'

/** Where inodes are: for messages and for profiles. A file may be at several places, and the first one counts. */
export class InodePaths {
  readonly #inodes: InodeTable
  readonly #names: RootNames
  readonly #directories: DirectoryLoader

  constructor(inodes: InodeTable, names: RootNames, directories: DirectoryLoader) {
    this.#inodes = inodes
    this.#names = names
    this.#directories = directories
  }

  /** From the store path down; `undefined` when a directory on the way is forgotten. */
  pathOf(inode: InodeNumber): Uint8Array[] | undefined {
    const names: Uint8Array[] = []
    let at = inode
    for (let depth = 0; depth < TREE_DEPTH_MAX && this.#inodes.isAlive(at) && at !== ROOT_INODE; depth++) {
      const atRoot = this.#names.nameOf(at)
      if (atRoot) return [atRoot, ...names]
      const parent = this.#inodes.parent(at)
      const name = this.#inodes.isAlive(parent) && this.#nameIn(parent, at)
      if (!name) return undefined
      names.unshift(name)
      at = parent
    }
    return undefined
  }

  /** Failures of what is fetched for an inode gain the store path that it is below. */
  locate<T>(inode: InodeNumber, value: Soon<T>): Soon<T> {
    if (!(value instanceof Promise)) return value
    return value.catch((error: unknown) => {
      throw this.located(inode, error)
    })
  }

  located(inode: InodeNumber, error: unknown): StoreError {
    const storePath = this.#storePathOf(inode)
    return storePath ? withContext(storePath, error) : StoreError.from(error)
  }

  #nameIn(parent: InodeNumber, inode: InodeNumber): Uint8Array | undefined {
    const entries = this.#directories.peek(this.#inodes.digest(parent))?.directory.entries
    if (this.#inodes.attributes(inode).kind === 'directory')
      return entries?.[this.#inodes.position(inode)]?.name
    const digest = this.#inodes.digest(inode)
    return entries?.find(({ node }) => node.kind === 'file' && node.digest.equals(digest))?.name
  }

  /** The basename of the store path that an inode is below. */
  #storePathOf(inode: InodeNumber): string | undefined {
    let at = inode
    for (let depth = 0; depth < TREE_DEPTH_MAX && this.#inodes.isAlive(at) && at !== ROOT_INODE; depth++) {
      const name = this.#names.nameOf(at)
      if (name) return printable(name)
      at = this.#inodes.parent(at)
    }
    return undefined
  }
}
