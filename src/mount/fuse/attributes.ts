import { BLOB_BYTES_MAX } from '../../support/limits.ts'
import type { Attributes, TreeEntry } from '../tree/interface.ts'
import { HIGH, LITTLE_ENDIAN, LOW, setU64 } from './bytes.ts'
import { ATTR, ENTRY_OUT, FILE_TYPE } from './protocol.ts'

/** Who owns every inode. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Contents never change, so what the kernel knows of them holds for ever: 2^40 seconds. */
const FOREVER_SECONDS = 2 ** 40
export const BLOCK_BYTES = 4096
/** The unit of st_blocks (stat(2)). */
export const SECTOR_BYTES = 512
const READABLE = 0o444
const EXECUTABLE = 0o555

/** Nix sets the modification time of everything in a store to one second after the epoch. */
export const MTIME_SECONDS = 1

/** Writes `struct fuse_attr` (spec §5.5, with honest sizes). */
export function writeAttributes(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  attributes: Attributes,
  owner: Owner,
): void {
  // A directory's recorded size comes from a stranger and may be any 64-bit number.
  const size = Math.min(Number(attributes.size), BLOB_BYTES_MAX)
  bytes.fill(0, at, at + ATTR.bytes)
  view.setBigUint64(at + ATTR.ino, attributes.ino, LITTLE_ENDIAN)
  setU64(view, at + ATTR.size, size)
  setU64(view, at + ATTR.blocks, Math.ceil(size / SECTOR_BYTES))
  setU64(view, at + ATTR.mtime, MTIME_SECONDS)
  view.setUint32(at + ATTR.mode, modeOf(attributes), LITTLE_ENDIAN)
  // Also for directories: 1 tells `find` that it cannot count sub-directories by the links.
  view.setUint32(at + ATTR.nlink, 1, LITTLE_ENDIAN)
  view.setUint32(at + ATTR.uid, owner.uid, LITTLE_ENDIAN)
  view.setUint32(at + ATTR.gid, owner.gid, LITTLE_ENDIAN)
  view.setUint32(at + ATTR.blksize, BLOCK_BYTES, LITTLE_ENDIAN)
}

/** Writes `struct fuse_entry_out`, valid for ever. */
export function writeEntry(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  entry: TreeEntry,
  owner: Owner,
): void {
  bytes.fill(0, at, at + ENTRY_OUT.attr)
  setU64(view, at + ENTRY_OUT.nodeid, entry.inode)
  writeForever(view, at + ENTRY_OUT.entryValid)
  writeForever(view, at + ENTRY_OUT.attrValid)
  writeAttributes(bytes, view, at + ENTRY_OUT.attr, entry.attributes, owner)
}

/** Writes a validity that never ends, in seconds. */
export function writeForever(view: DataView, at: number): void {
  view.setUint32(at + LOW, FOREVER_SECONDS % 2 ** 32, LITTLE_ENDIAN)
  view.setUint32(at + HIGH, FOREVER_SECONDS / 2 ** 32, LITTLE_ENDIAN)
}

export function modeOf({ kind, executable }: Attributes): number {
  return (FILE_TYPE[kind] << 12) | (kind === 'directory' || executable ? EXECUTABLE : READABLE)
}
