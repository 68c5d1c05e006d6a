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
} from '../../src/mount/tree/interface.ts'
import { compareBytes } from '../../src/support/bytes.ts'
import type { Call } from '../../src/support/call.ts'
import type { SampleDirectory, SampleNode } from '../posix/sample.ts'

interface Inode {
  readonly node: SampleNode
  readonly attributes: Attributes
  readonly children: readonly (readonly [Uint8Array, Inode])[]
  readonly byName: ReadonlyMap<string, Inode>
  readonly number: InodeNumber
  references: number
}

const ABSENT: Missing = { missing: true, forever: true }
const ABSENT_IN_ROOT: Missing = { missing: true, forever: false }

/** A tree in memory that answers everything at once and counts its references. */
export class FakeTree implements Tree {
  readonly #inodes: Inode[] = []
  readonly root: Inode

  constructor(root: SampleDirectory) {
    this.#inodes.length = 1 // numbers start at 1
    this.root = this.#add(root)
  }

  #add(node: SampleNode): Inode {
    const number = this.#inodes.push(undefined as never) - 1
    const named: [Uint8Array, Inode][] = []
    const byName = new Map<string, Inode>()
    if (node.kind === 'directory')
      for (const [name, child] of node.entries) {
        const inode = this.#add(child)
        named.push([Buffer.from(name, 'latin1'), inode])
        byName.set(name, inode)
      }
    named.sort(([a], [b]) => compareBytes(a, b))
    const inode: Inode = {
      node,
      attributes: attributesOf(node, number),
      children: named,
      byName,
      number,
      references: 0,
    }
    this.#inodes[number] = inode
    return inode
  }

  /** References that the kernel holds, over all inodes. */
  get references(): number {
    let sum = 0
    for (const inode of this.#inodes) sum += inode?.references ?? 0
    return sum
  }

  #get(number: InodeNumber): Inode {
    const inode = this.#inodes[number]
    if (!inode) throw new TreeFault('ESTALE')
    return inode
  }

  #directory(number: InodeNumber): Inode {
    const inode = this.#get(number)
    if (inode.node.kind !== 'directory') throw new TreeFault('ENOTDIR')
    return inode
  }

  lookup(parent: InodeNumber, name: Uint8Array, _call?: Call): Soon<TreeEntry | Missing> {
    const found = this.#directory(parent).byName.get(Buffer.from(name).toString('latin1'))
    if (!found) return parent === 1 ? ABSENT_IN_ROOT : ABSENT
    found.references++
    return entryOf(found)
  }

  forget(inode: InodeNumber, references: number): void {
    this.#get(inode).references -= references
  }

  getattr(inode: InodeNumber): Attributes {
    return this.#get(inode).attributes
  }

  readlink(inode: InodeNumber): Uint8Array {
    const { node } = this.#get(inode)
    if (node.kind !== 'symlink') throw new TreeFault('EINVAL')
    return node.target
  }

  readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean, _call?: Call): Soon<void> {
    const { children } = this.#directory(inode)
    for (let i = cookie; i < children.length; i++) {
      const [name, child] = children[i]!
      if (!sink.add(name, entryOf(child), i + 1)) return
      if (remember) child.references++
    }
  }

  read(inode: InodeNumber, offset: number, size: number, _call?: Call): Soon<readonly Uint8Array[]> {
    const { node } = this.#get(inode)
    if (node.kind === 'directory') throw new TreeFault('EISDIR')
    if (node.kind === 'symlink') throw new TreeFault('EINVAL')
    // Two pieces wherever it is possible, as at the border of two chunks.
    const middle = offset + (size >> 1)
    return [node.contents.subarray(offset, middle), node.contents.subarray(middle, offset + size)]
  }

  listxattr(inode: InodeNumber): readonly string[] {
    return this.#get(inode).node.kind === 'file' ? ['user.sample.size'] : []
  }

  getxattr(inode: InodeNumber, name: string): Uint8Array | undefined {
    const { node } = this.#get(inode)
    if (node.kind !== 'file' || name !== 'user.sample.size') return undefined
    return Buffer.from(String(node.contents.length))
  }

  statfs(): Statfs {
    return { blockSize: 4096, blocks: 1000n, files: BigInt(this.#inodes.length - 1) }
  }
}

function entryOf({ number, attributes }: Inode): TreeEntry {
  return { inode: number, attributes }
}

function attributesOf(node: SampleNode, number: InodeNumber): Attributes {
  return {
    // Above 2^32, as numbers derived from digests are.
    ino: (0x7eedn << 48n) | BigInt(number),
    kind: node.kind,
    size: BigInt(sizeOf(node)),
    executable: node.kind === 'file' && node.executable,
  }
}

function sizeOf(node: SampleNode): number {
  switch (node.kind) {
    case 'directory':
      return node.entries.size
    case 'file':
      return node.contents.length
    case 'symlink':
      return node.target.length
  }
}
