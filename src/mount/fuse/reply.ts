import { NAME_BYTES_MAX } from '../../support/limits.ts'
import type { Attributes, Statfs, TreeEntry } from '../tree/interface.ts'
import { type Owner, writeAttributes, writeEntry, writeForever } from './attributes.ts'
import { dataView, HIGH, LITTLE_ENDIAN, LOW, setU64 } from './bytes.ts'
import {
  ATTR,
  ATTR_OUT,
  ENTRY_OUT,
  GETXATTR_OUT,
  INIT_OUT,
  INVAL_ENTRY_OUT,
  INVAL_INODE_OUT,
  Notify,
  OPEN_OUT,
  OUT_HEADER,
  STATFS_OUT,
} from './protocol.ts'

const BODY = OUT_HEADER.bytes
const NOTHING: readonly Uint8Array[] = []

/** The settings that an INIT reply carries; everything else of the structure is zero. */
export interface InitReply {
  readonly minor: number
  readonly maxReadahead: number
  readonly flags: number
  readonly flags2: number
  readonly maxBackground: number
  readonly maxWrite: number
  readonly maxPages: number
  readonly maxStackDepth: number
}

/**
 * The one buffer in which replies and notifications are put together: a header, at most one fixed structure,
 * and pieces of other people's memory behind it. A reply is begun, given at most one body, finished and sent
 * before the next is begun.
 */
export class Reply {
  readonly bytes = new Uint8Array(BODY + ENTRY_OUT.bytes)
  readonly #view = dataView(this.bytes)
  /** Bytes of `bytes` that count. */
  headLength: number = BODY
  /** Bytes of the finished reply, pieces and all. */
  length = 0
  pieces: readonly Uint8Array[] = NOTHING

  begin(): void {
    this.headLength = BODY
    this.pieces = NOTHING
  }

  /** Writes the header; `errno` (positive) takes the place of a body. */
  finish(uniqueLow: number, uniqueHigh: number, errno: number): void {
    if (errno !== 0) this.begin()
    this.#writeHeader(uniqueLow, uniqueHigh, -errno)
  }

  /** Writes the header of a notification instead of a reply: unique is 0 and the code a positive "error". */
  finishNotification(code: number): void {
    this.#writeHeader(0, 0, code)
  }

  #writeHeader(uniqueLow: number, uniqueHigh: number, error: number): void {
    const view = this.#view
    let length = this.headLength
    for (const piece of this.pieces) length += piece.length
    this.length = length
    view.setUint32(OUT_HEADER.length, length, LITTLE_ENDIAN)
    view.setInt32(OUT_HEADER.error, error, LITTLE_ENDIAN)
    view.setUint32(OUT_HEADER.unique + LOW, uniqueLow, LITTLE_ENDIAN)
    view.setUint32(OUT_HEADER.unique + HIGH, uniqueHigh, LITTLE_ENDIAN)
  }

  entry(entry: TreeEntry, owner: Owner): void {
    writeEntry(this.bytes, this.#view, BODY, entry, owner)
    this.headLength = BODY + ENTRY_OUT.bytes
  }

  /** "No such entry", to be remembered by the kernel for ever (`undefined`) or for so many milliseconds. */
  negativeEntry(ms: number | undefined): void {
    this.#clear(ENTRY_OUT.bytes)
    if (ms === undefined) {
      writeForever(this.#view, BODY + ENTRY_OUT.entryValid)
      return
    }
    this.#writeDuration(ENTRY_OUT.entryValid, ENTRY_OUT.entryValidNsec, ms)
  }

  attributes(attributes: Attributes, owner: Owner): void {
    this.#clear(ATTR_OUT.bytes)
    writeForever(this.#view, BODY + ATTR_OUT.attrValid)
    writeAttributes(this.bytes, this.#view, BODY + ATTR_OUT.attr, attributes, owner)
  }

  /**
   * The attributes of a directory of which nobody can tell the kernel that it changed: they hold for so many
   * milliseconds, and each time it was modified just now.
   */
  passingAttributes(attributes: Attributes, owner: Owner, ms: number): void {
    this.attributes(attributes, owner)
    this.#writeDuration(ATTR_OUT.attrValid, ATTR_OUT.attrValidNsec, ms)
    const now = Date.now()
    setU64(this.#view, BODY + ATTR_OUT.attr + ATTR.mtime, Math.floor(now / 1000))
    this.#view.setUint32(BODY + ATTR_OUT.attr + ATTR.mtimeNsec, (now % 1000) * 1e6, LITTLE_ENDIAN)
  }

  open(flags: number, backingId = 0): void {
    this.#clear(OPEN_OUT.bytes)
    this.#view.setInt32(BODY + OPEN_OUT.backingId, backingId, LITTLE_ENDIAN)
    this.#view.setUint32(BODY + OPEN_OUT.openFlags, flags, LITTLE_ENDIAN)
  }

  statfs({ blockSize, blocks, files }: Statfs): void {
    this.#clear(STATFS_OUT.bytes)
    this.#view.setBigUint64(BODY + STATFS_OUT.blocks, blocks, LITTLE_ENDIAN)
    this.#view.setBigUint64(BODY + STATFS_OUT.files, files, LITTLE_ENDIAN)
    this.#view.setUint32(BODY + STATFS_OUT.bsize, blockSize, LITTLE_ENDIAN)
    this.#view.setUint32(BODY + STATFS_OUT.frsize, blockSize, LITTLE_ENDIAN)
    this.#view.setUint32(BODY + STATFS_OUT.namelen, NAME_BYTES_MAX, LITTLE_ENDIAN)
  }

  /** The length of an attribute, or of the list of attributes, for a caller who asked with size 0. */
  xattrSize(size: number): void {
    this.#clear(GETXATTR_OUT.bytes)
    this.#view.setUint32(BODY + GETXATTR_OUT.size, size, LITTLE_ENDIAN)
  }

  init(settings: InitReply, major: number): void {
    this.#clear(INIT_OUT.bytes)
    const view = this.#view
    view.setUint32(BODY + INIT_OUT.major, major, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.minor, settings.minor, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.maxReadahead, settings.maxReadahead, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.flags, settings.flags, LITTLE_ENDIAN)
    view.setUint16(BODY + INIT_OUT.maxBackground, settings.maxBackground, LITTLE_ENDIAN)
    view.setUint16(BODY + INIT_OUT.congestionThreshold, (settings.maxBackground * 3) / 4, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.maxWrite, settings.maxWrite, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.timeGran, 1, LITTLE_ENDIAN)
    view.setUint16(BODY + INIT_OUT.maxPages, settings.maxPages, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.flags2, settings.flags2, LITTLE_ENDIAN)
    view.setUint32(BODY + INIT_OUT.maxStackDepth, settings.maxStackDepth, LITTLE_ENDIAN)
  }

  /** Only our version: the kernel asks again with a version that we both speak. */
  version(major: number, minor: number): void {
    this.#clear(INIT_OUT.maxReadahead)
    this.#view.setUint32(BODY + INIT_OUT.major, major, LITTLE_ENDIAN)
    this.#view.setUint32(BODY + INIT_OUT.minor, minor, LITTLE_ENDIAN)
  }

  /** The body of `FUSE_NOTIFY_INVAL_INODE`: everything the kernel keeps of this inode. */
  invalidInode(inode: number): void {
    this.#clear(INVAL_INODE_OUT.bytes)
    setU64(this.#view, BODY + INVAL_INODE_OUT.ino, inode)
  }

  #writeDuration(seconds: number, nanoseconds: number, ms: number): void {
    setU64(this.#view, BODY + seconds, Math.floor(ms / 1000))
    this.#view.setUint32(BODY + nanoseconds, (ms % 1000) * 1e6, LITTLE_ENDIAN)
  }

  #clear(bodyBytes: number): void {
    this.bytes.fill(0, BODY, BODY + bodyBytes)
    this.headLength = BODY + bodyBytes
  }
}

/** A whole `FUSE_NOTIFY_INVAL_ENTRY`: the kernel forgets a name, and with it what it knows below. */
export function invalidEntry(parent: number, name: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(BODY + INVAL_ENTRY_OUT.bytes + name.length + 1)
  const view = new DataView(bytes.buffer)
  view.setUint32(OUT_HEADER.length, bytes.length, LITTLE_ENDIAN)
  view.setInt32(OUT_HEADER.error, Notify.INVAL_ENTRY, LITTLE_ENDIAN)
  setU64(view, BODY + INVAL_ENTRY_OUT.parent, parent)
  view.setUint32(BODY + INVAL_ENTRY_OUT.nameLength, name.length, LITTLE_ENDIAN)
  bytes.set(name, BODY + INVAL_ENTRY_OUT.bytes)
  return bytes
}
