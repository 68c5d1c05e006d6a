import type { Node } from '../../model/castore/node.ts'
import { nodeAttributes } from './identity.ts'
import type { InodeTable } from './inode-table.ts'
import type { EntrySink, InodeNumber } from './interface.ts'

/** A directory whose entries are listed one by one. */
export interface ListedDirectory {
  readonly ino: bigint
  intern(name: Uint8Array, node: Node, position: number): InodeNumber
  /** Takes back what was interned for an entry that did not fit. */
  takeBack(inode: InodeNumber): void
}

/** The inode, or 0 without `remember`. `undefined` when the sink is full; then the entry leaves no trace. */
export function offerEntry(
  inodes: InodeTable,
  sink: EntrySink,
  parent: ListedDirectory,
  { name, node }: { readonly name: Uint8Array; readonly node: Node },
  position: number,
  remember: boolean,
): InodeNumber | undefined {
  const cookie = position + 1
  if (!remember) {
    const entry = { inode: 0, attributes: nodeAttributes(node, parent.ino, name) }
    return sink.add(name, entry, cookie) ? 0 : undefined
  }
  const inode = parent.intern(name, node, position)
  if (!sink.add(name, { inode, attributes: inodes.attributes(inode) }, cookie)) {
    parent.takeBack(inode)
    return undefined
  }
  inodes.reference(inode)
  return inode
}
