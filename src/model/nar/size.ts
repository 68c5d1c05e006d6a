/**
 * How much of a NAR its parts take. Everything is padded to the same alignment, so that sizes simply add up: that of a
 * node is the same wherever it stands.
 */
import {
  ALIGNMENT,
  ARCHIVE,
  CLOSE,
  CLOSE_ENTRY,
  ENTRY,
  ENTRY_NODE,
  LENGTH_BYTES,
  NODE_DIRECTORY,
  NODE_EXECUTABLE,
  NODE_FILE,
  NODE_SYMLINK,
  paddingOf,
} from './token.ts'

/** What stands before the root. */
export const NAR_HEADER_BYTES = ARCHIVE.length
export const DIRECTORY_HEADER_BYTES = NODE_DIRECTORY.length
/** What stands behind the last entry of a directory, and behind the padding of a file. */
export const NODE_END_BYTES = CLOSE.length
/** What stands behind the contents of a file in a directory, at most. */
export const FILE_END_BYTES_MAX = ALIGNMENT - 1 + CLOSE_ENTRY.length

export function symlinkBytes(targetLength: number): number {
  return NODE_SYMLINK.length + stringBytes(targetLength) + CLOSE.length
}

/** What stands before the contents of a file. */
export function fileHeaderBytes(executable: boolean): number {
  return (executable ? NODE_EXECUTABLE : NODE_FILE).length + LENGTH_BYTES
}

export function fileBytes(size: number, executable: boolean): number {
  return fileHeaderBytes(executable) + size + paddingOf(size) + CLOSE.length
}

/** An entry without its node. */
export function entryBytes(nameLength: number): number {
  return entryHeaderBytes(nameLength) + CLOSE.length
}

/** What stands before the node of an entry. */
export function entryHeaderBytes(nameLength: number): number {
  return ENTRY.length + stringBytes(nameLength) + ENTRY_NODE.length
}

function stringBytes(length: number): number {
  return LENGTH_BYTES + length + paddingOf(length)
}
