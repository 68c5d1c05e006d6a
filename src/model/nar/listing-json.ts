/** The JSON form of NAR listings, `.ls` in a binary cache (spec §6.10). */
import { isUtf8 } from 'node:buffer'
import { compareBytes, utf8, view } from '../../support/bytes.ts'
import { NAR_LISTING_BYTES_MAX, TREE_DEPTH_MAX } from '../../support/limits.ts'
import { pathComponent } from '../castore/path-component.ts'
import { type SymlinkTarget, symlinkTarget } from '../castore/symlink-target.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { ListingDirectory, ListingEntry, ListingFile, ListingNode } from './listing.ts'

const VERSION = 1

/**
 * The document of a listing: keys in alphabetical order, no spaces. Names and targets that are not UTF-8 stand there as the
 * bytes that they are, as Nix writes them: JSON has no other way to say them.
 */
export function printListing(root: ListingNode): Uint8Array {
  const parts = ['{"root":']
  const open: { readonly directory: ListingDirectory; index: number }[] = []
  const begin = (node: ListingNode) => {
    if (node.type === 'directory') {
      parts.push('{"entries":{')
      open.push({ directory: node, index: 0 })
    } else if (node.type === 'symlink') {
      parts.push(`{"target":${quoted(node.target)},"type":"symlink"}`)
    } else {
      parts.push(printFile(node))
    }
  }
  begin(root)
  for (let top = open.at(-1); top; top = open.at(-1)) {
    const entry = top.directory.entries[top.index++]
    if (entry) {
      parts.push(top.index > 1 ? ',' : '', quoted(entry.name), ':')
      begin(entry.node)
    } else {
      parts.push('},"type":"directory"}')
      open.pop()
    }
  }
  parts.push(`,"version":${VERSION}}`)
  return Buffer.from(parts.join(''), 'latin1')
}

function printFile(file: ListingFile): string {
  const executable = file.executable ? '"executable":true,' : ''
  return `{${executable}"narOffset":${file.narOffset},"size":${file.size},"type":"regular"}`
}

/** A character for each byte, and a byte for each character in the end. */
function quoted(bytes: Uint8Array): string {
  return JSON.stringify(view(bytes).toString('latin1'))
}

/**
 * Reads such a document; keys it does not know are ignored. Throws ValidationError `DocumentTooLarge` or
 * `InvalidListing`, or what a name or target breaks.
 */
export function parseListing(document: Uint8Array): ListingNode {
  if (document.length > NAR_LISTING_BYTES_MAX)
    throw new ValidationError(
      'DocumentTooLarge',
      `NAR listing of ${document.length} bytes, more than ${NAR_LISTING_BYTES_MAX}`,
    )
  const { version, root } = record(parseJson(document), 'the document')
  if (version !== VERSION) throw invalid(`its version is not ${VERSION}`)
  return parseTree(root)
}

/** A directory whose entries are still JSON, or already nodes where `entries` took them over. */
interface Unparsed {
  readonly rest: [string, unknown][]
  readonly entries: ListingEntry[]
}

function parseTree(json: unknown): ListingNode {
  const open: Unparsed[] = []
  const begin = (value: unknown): ListingNode => {
    const fields = record(value, 'an entry')
    const { type, target, entries: children } = fields
    if (type === 'regular') return parseFile(fields)
    if (type === 'symlink') return { type, target: parseTarget(target) }
    if (type !== 'directory') throw invalid('an entry is neither regular, symlink nor directory')
    if (open.length > TREE_DEPTH_MAX) throw invalid(`directories nested deeper than ${TREE_DEPTH_MAX}`)
    const entries: ListingEntry[] = []
    open.push({ rest: Object.entries(record(children, 'entries')), entries })
    return { type, entries }
  }
  const root = begin(json)
  for (let top = open.at(-1); top; top = open.at(-1)) {
    const next = top.rest.pop()
    if (next) {
      const name = pathComponent(utf8(next[0]))
      top.entries.push({ name, node: begin(next[1]) })
    } else {
      top.entries.sort((a, b) => compareBytes(a.name, b.name))
      open.pop()
    }
  }
  return root
}

function parseFile(fields: Record<string, unknown>): ListingFile {
  const { executable = false, size, narOffset } = fields
  if (typeof executable !== 'boolean') throw invalid('executable is not a boolean')
  return {
    type: 'regular',
    executable,
    size: parseNumber(size, 'size'),
    narOffset: parseNumber(narOffset, 'narOffset'),
  }
}

function parseTarget(value: unknown): SymlinkTarget {
  if (typeof value !== 'string') throw invalid('the target of a symlink is not a string')
  return symlinkTarget(utf8(value))
}

function parseNumber(value: unknown, key: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw invalid(`${key} is not a number of bytes`)
  return value
}

function parseJson(document: Uint8Array): unknown {
  if (!isUtf8(document)) throw invalid('it is not UTF-8')
  try {
    return JSON.parse(view(document).toString('utf8'))
  } catch (cause) {
    throw invalid('it is not JSON', cause)
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${what} is not an object`)
  return value as Record<string, unknown>
}

function invalid(why: string, cause?: unknown): ValidationError {
  return new ValidationError('InvalidListing', `not a NAR listing: ${why}`, { cause })
}
