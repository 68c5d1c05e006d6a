import { compact, compareBytes, printable, view } from '../../support/bytes.ts'
import { Digest } from './digest.ts'
import { decodeEntryLists, encodeEntries } from './directory-codec.ts'
import type { Entry, Node } from './node.ts'
import type { PathComponent } from './path-component.ts'
import { ValidationError } from './validation-error.ts'

/**
 * How the size of a directory is counted (spec §1.9). With n entries, of which the sub-directories record
 * sizes s: `rust` is 2n + Σs, which every Rust release since August 2024 writes and insists on; `documented`
 * is n + Σs, which the documentation, older releases and the Go client use. The choice changes the digests of
 * all directories above a non-empty one.
 */
export type SizeFormula = 'rust' | 'documented'

const U64_MAX = 0xffff_ffff_ffff_ffffn

/**
 * One level of a tree: names in byte order, each with its node. Immutable; equal contents have equal encodings
 * and so equal digests. Construction validates: there is no invalid Directory.
 */
export class Directory {
  /** In byte order of the names, over all three kinds. */
  readonly entries: readonly Entry[]
  #encoded: Uint8Array | undefined
  #digest: Digest | undefined

  private constructor(entries: readonly Entry[]) {
    this.entries = entries
  }

  /**
   * From entries in any order. Throws ValidationError `DuplicateName` or `SizeOverflow`, whichever comes first when they
   * are added one by one.
   */
  static from(entries: readonly Entry[]): Directory {
    const sorted = [...entries].sort((a, b) => compareBytes(a.name, b.name))
    if (hasDuplicates(sorted) || documentedSize(sorted) > U64_MAX) throw firstFault(entries)
    return new Directory(sorted)
  }

  /**
   * From a protobuf encoding, canonical or not; unknown fields are dropped (spec §1.7). Throws ValidationError
   * with the rules of spec §1.8, in their order.
   */
  static decode(bytes: Uint8Array): Directory {
    // Names and digests stay views into these bytes for as long as the directory lives.
    const kept = compact(bytes)
    const { directories, files, symlinks, isCanonical } = decodeEntryLists(kept)
    // Each list is in order, without duplicates: to sort all again would be a tenth of what a tree costs that is walked.
    const nodes = merged(directories, files)
    const entries = nodes && merged(nodes, symlinks)
    if (!entries || documentedSize(entries) > U64_MAX)
      throw firstFault([...directories, ...files, ...symlinks])
    const directory = new Directory(entries)
    // Encoding is what a walk would spend most of its time with.
    if (isCanonical) directory.#encoded = kept
    return directory
  }

  /** The canonical encoding (spec §1.7). Shared memory: do not write to it. */
  get encoded(): Uint8Array {
    this.#encoded ??= encodeEntries(this.entries)
    return this.#encoded
  }

  get digest(): Digest {
    this.#digest ??= Digest.of(this.encoded)
    return this.#digest
  }

  size(formula: SizeFormula): bigint {
    const documented = documentedSize(this.entries)
    return formula === 'documented' ? documented : documented + BigInt(this.entries.length)
  }

  /** The node under `name`, found by binary search. */
  get(name: Uint8Array): Node | undefined {
    const index = this.indexOf(name)
    return index < 0 ? undefined : this.entries[index]!.node
  }

  /** The position of `name` among the entries, or -1. */
  indexOf(name: Uint8Array): number {
    let low = 0
    let high = this.entries.length - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const order = compareBytes(this.entries[middle]!.name, name)
      if (order === 0) return middle
      if (order < 0) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  /** The digests of the sub-directories in entry order, with the entry that names them. */
  *children(): Generator<{ name: PathComponent; digest: Digest; size: bigint }> {
    for (const { name, node } of this.entries)
      if (node.kind === 'directory') yield { name, digest: node.digest, size: node.size }
  }
}

function documentedSize(entries: readonly Entry[]): bigint {
  let size = BigInt(entries.length)
  for (const { node } of entries) if (node.kind === 'directory') size += node.size
  return size
}

/** Two lists that are each in order, in one; `undefined` when both have a name. */
function merged(a: readonly Entry[], b: readonly Entry[]): readonly Entry[] | undefined {
  if (b.length === 0) return a
  if (a.length === 0) return b
  const entries: Entry[] = []
  let next = 0
  for (const entry of a) {
    for (let other = b[next]; other; other = b[++next]) {
      const order = compareBytes(other.name, entry.name)
      if (order === 0) return undefined
      if (order > 0) break
      entries.push(other)
    }
    entries.push(entry)
  }
  for (let other = b[next]; other; other = b[++next]) entries.push(other)
  return entries
}

function hasDuplicates(sorted: readonly Entry[]): boolean {
  return sorted.some(({ name }, i) => i > 0 && compareBytes(sorted[i - 1]!.name, name) === 0)
}

/** What is wrong with entries that have no directory: spec §1.8 step 3, which takes them in the order of the lists. */
function firstFault(entries: readonly Entry[]): ValidationError {
  const names = new Set<string>()
  let size = 0n
  for (const { name, node } of entries) {
    size += 1n + (node.kind === 'directory' ? node.size : 0n)
    if (size > U64_MAX) break
    const key = view(name).toString('latin1')
    if (names.has(key)) {
      const shown = printable(name)
      return new ValidationError(`DuplicateName(${shown})`, `"${shown}" is a duplicate name`)
    }
    names.add(key)
  }
  return new ValidationError('SizeOverflow', 'Total size exceeds u64::MAX')
}
