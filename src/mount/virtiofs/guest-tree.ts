import type { Call } from '../../support/call.ts'
import { GUEST_FORGETS_PER_TURN } from '../../support/limits.ts'
import { ROOT_NODE } from '../fuse/protocol.ts'
import {
  type Attributes,
  type EntrySink,
  type InodeNumber,
  type Missing,
  type Soon,
  type Statfs,
  type Tree,
  type TreeEntry,
  TreeFault,
} from '../tree/interface.ts'
import { whenReady } from '../tree/soon.ts'

/**
 * One guest's view of a tree that it shares with others. It reaches only what it looked up or listed itself, whatever
 * numbers it makes up, and gives back no more references than it has, so that it can take nothing from the others.
 */
export class GuestTree implements Tree {
  readonly #tree: Tree
  readonly #held = new Map<InodeNumber, number>()

  constructor(tree: Tree) {
    this.#tree = tree
  }

  lookup(parent: InodeNumber, name: Uint8Array, call?: Call): Soon<TreeEntry | Missing> {
    this.#expect(parent)
    return whenReady(this.#tree.lookup(parent, name, call), (found) => {
      if (!('missing' in found)) this.#hold(found.inode)
      return found
    })
  }

  forget(inode: InodeNumber, references: number): void {
    const held = this.#held.get(inode)
    if (held === undefined) return
    if (references >= held) this.#held.delete(inode)
    else this.#held.set(inode, held - references)
    this.#tree.forget(inode, Math.min(held, references))
  }

  getattr(inode: InodeNumber): Attributes {
    this.#expect(inode)
    return this.#tree.getattr(inode)
  }

  readlink(inode: InodeNumber): Uint8Array {
    this.#expect(inode)
    return this.#tree.readlink(inode)
  }

  readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean, call?: Call): Soon<void> {
    this.#expect(inode)
    return this.#tree.readdir(inode, cookie, remember ? this.#counting(sink) : sink, remember, call)
  }

  /** Takes note of what `sink` takes. */
  #counting(sink: EntrySink): EntrySink {
    const add: EntrySink['add'] = (name, entry, next) => {
      const taken = sink.add(name, entry, next)
      if (taken) this.#hold(entry.inode)
      return taken
    }
    const { addPacked } = sink
    if (!addPacked) return { add }
    return {
      add,
      addPacked: (entries, next) => {
        const inodes = addPacked.call(sink, entries, next)
        for (const inode of inodes) this.#hold(inode)
        return inodes
      },
    }
  }

  read(inode: InodeNumber, offset: number, size: number, call?: Call): Soon<readonly Uint8Array[]> {
    this.#expect(inode)
    return this.#tree.read(inode, offset, size, call)
  }

  listxattr(inode: InodeNumber): readonly string[] {
    this.#expect(inode)
    return this.#tree.listxattr(inode)
  }

  getxattr(inode: InodeNumber, name: string): Uint8Array | undefined {
    this.#expect(inode)
    return this.#tree.getxattr(inode, name)
  }

  statfs(): Statfs {
    return this.#tree.statfs()
  }

  /** Inodes that the guest holds. */
  get held(): number {
    return this.#held.size
  }

  /** Gives everything back, when the guest is gone; not all at once, since others are being served. */
  async release(): Promise<void> {
    let turn = 0
    for (const [inode, references] of this.#held) {
      this.#held.delete(inode)
      this.#tree.forget(inode, references)
      if (++turn % GUEST_FORGETS_PER_TURN === 0) await new Promise(setImmediate)
    }
  }

  #hold(inode: InodeNumber): void {
    this.#held.set(inode, (this.#held.get(inode) ?? 0) + 1)
  }

  #expect(inode: InodeNumber): void {
    if (inode !== ROOT_NODE && !this.#held.has(inode)) throw new TreeFault('ESTALE')
  }
}
