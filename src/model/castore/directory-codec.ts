/**
 * The protobuf encoding of a Directory (spec §1.2, §1.7), written out by hand: it is the identity of every
 * directory, so it must be canonical to the bit (ascending fields, defaults omitted, minimal varints), and it
 * is decoded for every directory that the mount touches. `test/unit` compares it with the generated code.
 *
 *     Directory { 1: repeated DirectoryNode, 2: repeated FileNode, 3: repeated SymlinkNode }
 *     DirectoryNode { 1: name, 2: digest, 3: size }   FileNode { …, 4: executable }   SymlinkNode { 1: name, 2: target }
 */
import { compareBytes, printable } from '../../support/bytes.ts'
import { Digest } from './digest.ts'
import type { Entry, Node } from './node.ts'
import { pathComponent, pathComponentFault } from './path-component.ts'
import { ProtoReader, ProtoWriter } from './proto.ts'
import { symlinkTarget } from './symlink-target.ts'
import { ValidationError } from './validation-error.ts'

const FIELD = { directory: 1, file: 2, symlink: 3 } as const

/** Entries must be sorted by name; the three kinds are split into their lists here. */
export function encodeEntries(entries: readonly Entry[]): Uint8Array {
  const writer = new ProtoWriter()
  for (const kind of ['directory', 'file', 'symlink'] as const)
    for (const entry of entries)
      if (entry.node.kind === kind)
        writer.message(FIELD[kind], (inner) => encodeNode(inner, entry.name, entry.node))
  return writer.finish()
}

/** The fields of one node message; an anonymous node has the empty name. */
export function encodeNode(writer: ProtoWriter, name: Uint8Array, node: Node): void {
  writer.bytes(1, name)
  if (node.kind === 'symlink') {
    writer.bytes(2, node.target)
    return
  }
  writer.bytes(2, node.digest.bytes)
  writer.uint64(3, node.size)
  if (node.kind === 'file') writer.bool(4, node.executable)
}

/** A node message as it came, not validated. */
export interface RawNode {
  readonly kind: Node['kind']
  name: Uint8Array
  /** digest, or symlink target */
  value: Uint8Array
  /** 0 and false for what has none. */
  size: bigint
  executable: boolean
  isCanonical: boolean
}

export interface EntryLists {
  readonly directories: Entry[]
  readonly files: Entry[]
  readonly symlinks: Entry[]
  /** Encoding them again gives the very bytes that they were decoded from. */
  readonly isCanonical: boolean
}

/** Decodes and validates each list (spec §1.8 steps 1 and 2); the caller merges them (step 3). */
export function decodeEntryLists(bytes: Uint8Array): EntryLists {
  const directories: RawNode[] = []
  const files: RawNode[] = []
  const symlinks: RawNode[] = []
  const reader = new ProtoReader(bytes)
  let isCanonical = true
  const node = (kind: Node['kind']) => {
    const raw = decodeRawNode(kind, reader.bytes())
    isCanonical &&= raw.isCanonical
    return raw
  }
  while (reader.next()) {
    if (reader.field === FIELD.directory) directories.push(node('directory'))
    else if (reader.field === FIELD.file) files.push(node('file'))
    else if (reader.field === FIELD.symlink) symlinks.push(node('symlink'))
    else reader.skip()
  }
  for (const list of [directories, files, symlinks]) checkOrder(list)
  return {
    directories: directories.map(validateEntry),
    files: files.map(validateEntry),
    symlinks: symlinks.map(validateEntry),
    isCanonical: isCanonical && reader.isCanonical,
  }
}

const NO_BYTES = new Uint8Array(0)

/** A message that comes in several parts of one kind is all of them, the later over the earlier; of two kinds, the last. */
function decodeRawNode(kind: Node['kind'], bytes: Uint8Array, earlier?: RawNode): RawNode {
  const raw: RawNode =
    earlier?.kind === kind
      ? earlier
      : { kind, name: NO_BYTES, value: NO_BYTES, size: 0n, executable: false, isCanonical: true }
  const reader = new ProtoReader(bytes)
  let previous = 0
  while (reader.next()) {
    const { field } = reader
    if (field === previous) raw.isCanonical = false
    previous = field
    if (field === 1) raw.name = reader.bytes()
    else if (field === 2) raw.value = reader.bytes()
    else if (field === 3 && kind !== 'symlink') raw.size = reader.uint64()
    else if (field === 4 && kind === 'file') readExecutable(raw, reader.uint64())
    else reader.skip()
  }
  raw.isCanonical &&= reader.isCanonical
  return raw
}

/** Any number but 0 is true, and 1 is how it is written. */
function readExecutable(raw: RawNode, value: bigint): void {
  raw.executable = value !== 0n
  if (value !== 1n) raw.isCanonical = false
}

function checkOrder(list: readonly RawNode[]): void {
  let previous: Uint8Array = NO_BYTES
  for (const { name } of list) {
    const order = compareBytes(name, previous)
    if (order < 0)
      throw new ValidationError(`WrongSorting(${printable(name)})`, `"${printable(name)}" is not sorted`)
    if (order === 0) {
      // The running name starts out empty, so an empty first name lands here and is a bad name, not a duplicate.
      if (pathComponentFault(name)) pathComponent(name)
      throw new ValidationError(
        `DuplicateName(${printable(name)})`,
        `"${printable(name)}" is a duplicate name`,
      )
    }
    previous = name
  }
}

function validateEntry(raw: RawNode): Entry {
  return { name: pathComponent(raw.name), node: validateNode(raw) }
}

function validateNode(raw: RawNode): Node {
  try {
    if (raw.kind === 'symlink') return { kind: 'symlink', target: symlinkTarget(raw.value) }
    const digest = Digest.fromBytes(raw.value)
    if (raw.kind === 'directory') return { kind: 'directory', digest, size: raw.size }
    return { kind: 'file', digest, size: raw.size, executable: raw.executable }
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    const name = printable(raw.name)
    const variant =
      error.variant === 'InvalidDigestLen' ? `InvalidDigestLen(${raw.value.length})` : error.variant
    throw new ValidationError(
      `InvalidNode(${name}, ${variant})`,
      `invalid node with name ${name}: "${error.message}"`,
      { cause: error },
    )
  }
}

/** The oneof of spec §1.2 `Node`: the same field numbers as the lists of a Directory. */
export function encodeNodeMessage(name: Uint8Array, node: Node): Uint8Array {
  const writer = new ProtoWriter()
  writer.message(FIELD[node.kind], (inner) => encodeNode(inner, name, node))
  return writer.finish()
}

/** A `Node` message and the name inside it. Throws ValidationError `NoNodeSet`, or as for a directory entry. */
export function decodeNodeMessage(bytes: Uint8Array): { name: Uint8Array; node: Node } {
  return validateNodeMessage(decodeRawNodeMessage(bytes))
}

/** As it came, or as what it adds to an `earlier` part of it; `undefined` for a Node of no kind. */
export function decodeRawNodeMessage(bytes: Uint8Array, earlier?: RawNode): RawNode | undefined {
  let raw = earlier
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === FIELD.directory) raw = decodeRawNode('directory', reader.bytes(), raw)
    else if (reader.field === FIELD.file) raw = decodeRawNode('file', reader.bytes(), raw)
    else if (reader.field === FIELD.symlink) raw = decodeRawNode('symlink', reader.bytes(), raw)
    else reader.skip()
  }
  return raw
}

/** Throws as `decodeNodeMessage` does. */
export function validateNodeMessage(fields: RawNode | undefined): { name: Uint8Array; node: Node } {
  if (!fields) throw new ValidationError('NoNodeSet', 'No node set')
  if (fields.name.length > 0) pathComponent(fields.name)
  return { name: fields.name, node: validateNode(fields) }
}

/** A `Node` message that must carry no name. Throws ValidationError `NameInAnonymousNode` among others. */
export function decodeAnonymousNode(bytes: Uint8Array): Node {
  const { name, node } = decodeNodeMessage(bytes)
  if (name.length > 0) throw new ValidationError('NameInAnonymousNode', "Name is set when it shouldn't")
  return node
}
