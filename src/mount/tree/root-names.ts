import type { Node } from '../../model/castore/node.ts'
import { view } from '../../support/bytes.ts'
import type { InodeTable } from './inode-table.ts'
import type { InodeNumber } from './interface.ts'

/** A name at the root as the map key that it is one-to-one with. */
export function nameKey(name: Uint8Array): string {
  return view(name).toString('latin1')
}

/**
 * The names at the root whose inodes the kernel holds. As long as it does they are answered from here, whatever
 * becomes of the sources.
 */
export class RootNames {
  readonly #inodes: InodeTable
  readonly #byName = new Map<string, InodeNumber>()
  /** Several names may stand for one inode: equal files and equal symlinks are one. */
  readonly #byInode = new Map<InodeNumber, string[]>()

  constructor(inodes: InodeTable) {
    this.#inodes = inodes
  }

  get count(): number {
    return this.#byName.size
  }

  get(name: Uint8Array): InodeNumber | undefined {
    return this.#byName.get(nameKey(name))
  }

  /** The inode under a name; made if it is not known yet, and then without a reference. */
  intern(name: Uint8Array, node: Node): InodeNumber {
    const key = nameKey(name)
    const known = this.#byName.get(key)
    if (known !== undefined) return known
    const inode = this.#inodes.internAtRoot(node, name)
    this.#byName.set(key, inode)
    const names = this.#byInode.get(inode)
    if (names) names.push(key)
    else this.#byInode.set(inode, [key])
    return inode
  }

  /** Those that are known now; others may come and go meanwhile. */
  *known(): Generator<Uint8Array> {
    for (const key of this.#byName.keys()) yield Buffer.from(key, 'latin1')
  }

  /** Forgets what a name stands for. The inode lives on as long as the kernel holds it. */
  drop(name: Uint8Array): void {
    const key = nameKey(name)
    const inode = this.#byName.get(key)
    if (inode === undefined) return
    this.#byName.delete(key)
    const left = this.#byInode.get(inode)!.filter((each) => each !== key)
    if (left.length > 0) this.#byInode.set(inode, left)
    else this.#byInode.delete(inode)
  }

  /** A name that stands for the inode, if it lies at the root. */
  nameOf(inode: InodeNumber): Uint8Array | undefined {
    const key = this.#byInode.get(inode)?.[0]
    return key === undefined ? undefined : Buffer.from(key, 'latin1')
  }

  /** Drops the names of an inode that died. */
  release(inode: InodeNumber): void {
    for (const key of this.#byInode.get(inode) ?? []) this.#byName.delete(key)
    this.#byInode.delete(inode)
  }
}
