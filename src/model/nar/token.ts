/** The fixed parts of a NAR (spec §6.1), each as long as it can be before the archive has a choice. */
import { concatBytes } from '../../support/bytes.ts'

/** Everything is padded with zeros to a multiple of this. */
export const ALIGNMENT = 8
/** A length: u64, little endian. */
export const LENGTH_BYTES = 8

/** Bytes of padding after `length` bytes. */
export function paddingOf(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT
}

export const ARCHIVE = tokens('nix-archive-1')
export const NODE_DIRECTORY = tokens('(', 'type', 'directory')
export const NODE_SYMLINK = tokens('(', 'type', 'symlink', 'target')
export const NODE_FILE = tokens('(', 'type', 'regular', 'contents')
export const NODE_EXECUTABLE = tokens('(', 'type', 'regular', 'executable', '', 'contents')
export const ENTRY = tokens('entry', '(', 'name')
export const ENTRY_NODE = tokens('node')
/** Ends a node … */
export const CLOSE = tokens(')')
/** … and the entry around it. */
export const CLOSE_ENTRY = tokens(')', ')')

function tokens(...texts: string[]): Uint8Array {
  return concatBytes(texts.map(token))
}

function token(text: string): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES + text.length + paddingOf(text.length))
  bytes[0] = text.length
  bytes.set(Buffer.from(text, 'latin1'), LENGTH_BYTES)
  return bytes
}
