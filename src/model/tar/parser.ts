import { printable } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { TAR_EXTENSION_BYTES_MAX, TAR_SPARSE_REGIONS_MAX } from '../../support/limits.ts'
import { type SymlinkTarget, symlinkTargetFault } from '../castore/symlink-target.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { TarEvent } from './event.ts'
import { BLOCK_BYTES, cString, isZeroBlock, parseHeader, type TarHeader } from './header.ts'
import { tarPath } from './path.ts'
import { applyPaxRecords, type PaxFields } from './pax.ts'
import {
  HEADER_REGIONS,
  MORE_REGIONS,
  readRegions,
  realSize,
  type SparseFile,
  SparseMapText,
  sparseFault,
} from './sparse.ts'

/** What the parser does next: tell an event, or wait for the next piece (`undefined`). */
type Steps<T = void> = Generator<TarEvent | undefined, T, undefined>

const SLASH = 0x2f
const OWNER_EXECUTE = 0o100
const NO_BYTES = new Uint8Array(0)

/** For people; everything else is a letter to them. */
const KINDS: Readonly<Record<string, string>> = {
  '3': 'character device',
  '4': 'block device',
  '6': 'fifo',
  D: 'list of a directory, of an incremental backup',
  M: 'continuation of another volume',
  V: 'volume label',
}

/**
 * Reads a tar archive that arrives in pieces of any size: ustar, pax, GNU and V7, with their long names and sparse files.
 * It is a generator that stops where it needs more bytes than have come; only contents are handed on as they come, all
 * else has a limit.
 */
export class TarParser {
  readonly #steps = this.#archive()
  #piece: Uint8Array = NO_BYTES
  #position = 0
  #consumed = 0
  #isEnded = false
  /** Where the header of the entry begins that is read. */
  #entryAt = 0
  /** Of extended headers: for all entries that follow, and for the next one. */
  #global: PaxFields = {}
  #next: PaxFields = {};

  /**
   * Takes the next piece of the archive and gives what it completes; run it to its end before the next piece is pushed.
   * `contents` are views of the piece, all else are copies. Throws ValidationError for what is no tar archive or has what
   * no store path can hold, `exhausted` for headers beyond the limits. What follows the end is not looked at.
   */
  *push(piece: Uint8Array): Generator<TarEvent, void, undefined> {
    this.#piece = piece
    this.#position = 0
    for (;;) {
      const { value: event, done } = this.#steps.next()
      if (done || event === undefined) return
      yield event
    }
  }

  /** Call it after the last piece. Throws ValidationError `UnexpectedEof` unless the archive has ended. */
  finish(): void {
    if (this.#isEnded) return
    throw new ValidationError('UnexpectedEof', `tar: ends early, after ${this.#consumed} bytes`)
  }

  *#archive(): Steps {
    for (let block = yield* this.#header(); block; block = yield* this.#header()) {
      const header = parseHeader(block)
      if (!header) throw this.#invalid('no header of an entry (its checksum or its numbers are wrong)')
      yield* this.#entry(header, block)
    }
  }

  /** `undefined` at the end, which is two blocks of zeros. Some programs write only one. */
  *#header(): Steps<Uint8Array | undefined> {
    this.#entryAt = this.#consumed
    const block = yield* this.#take(BLOCK_BYTES)
    if (!isZeroBlock(block)) return block
    this.#isEnded = true
    const next = yield* this.#take(BLOCK_BYTES)
    // Whatever reads on would guess, whatever does not would leave out entries without a word.
    if (!isZeroBlock(next)) throw this.#invalid('a lone block of zeros, and more behind it')
    return undefined
  }

  *#entry(header: TarHeader, block: Uint8Array): Steps {
    switch (header.type) {
      case 'g':
        this.#applyRecords(this.#global, yield* this.#extension(header))
        return
      case 'x':
      case 'X':
        this.#applyRecords(this.#next, yield* this.#extension(header))
        return
      case 'L':
        this.#next.path = cString(yield* this.#extension(header))
        return
      case 'K':
        this.#next.linkPath = cString(yield* this.#extension(header))
        return
    }
    const fields = { ...this.#global, ...this.#next }
    this.#next = {}
    const entry = {
      ...header,
      path: fields.sparse?.path ?? fields.path ?? header.path,
      linkPath: fields.linkPath ?? header.linkPath,
      size: fields.size ?? header.size,
    }
    yield* this.#member(entry, block, fields)
  }

  *#member(entry: TarHeader, block: Uint8Array, { sparse }: PaxFields): Steps {
    const { path, linkPath, size } = entry
    switch (entry.type) {
      case '0':
      case '7':
        if (sparse) yield* this.#paxSparseFile(entry, sparse)
        // V7 has no other way to tell.
        else if (path.at(-1) === SLASH) yield* this.#directory(path, size)
        else yield* this.#file(entry, { numbers: [0, size], size }, size)
        return
      case 'S':
        yield* this.#oldSparseFile(entry, block)
        return
      case '1':
        // Of a link only the name counts: what some programs give as its size is that of the file.
        yield { type: 'hard-link', path: tarPath(path), target: tarPath(linkPath) }
        return
      case '2':
        yield { type: 'symlink', path: tarPath(path), target: this.#target(path, linkPath) }
        return
      case '5':
        yield* this.#directory(path, size)
        return
    }
    const kind = KINDS[entry.type] ?? printable(Buffer.from(entry.type, 'latin1'))
    throw new ValidationError(
      'Unsupported',
      `unsupported tar entry "${printable(path)}" type: ${kind} (only files, directories and links can be stored)`,
    )
  }

  *#directory(path: Uint8Array, size: number): Steps {
    yield { type: 'directory', path: tarPath(path) }
    yield* this.#skip(size + paddingOf(size))
  }

  #target(path: Uint8Array, target: Uint8Array): SymlinkTarget {
    if (target.length === 0) throw this.#invalid(`symlink missing target: "${printable(path)}"`)
    const fault = symlinkTargetFault(target)
    if (fault) throw this.#invalid(`the target of the symlink "${printable(path)}" ${fault.message}`)
    return target as SymlinkTarget
  }

  /** `stored`: bytes that the archive has of it. */
  *#file({ path, mode }: TarHeader, file: SparseFile, stored: number): Steps {
    const { numbers, size } = file
    const fault = sparseFault(file, stored)
    if (fault) throw this.#invalid(`"${printable(path)}" has ${fault}`)
    yield { type: 'file', path: tarPath(path), size, executable: (mode & OWNER_EXECUTE) !== 0 }
    let at = 0
    for (let i = 0; i < numbers.length; i += 2) {
      const [offset, length] = [numbers[i]!, numbers[i + 1]!]
      if (offset > at) yield { type: 'hole', size: offset - at }
      yield* this.#contents(length)
      at = offset + length
    }
    if (size > at) yield { type: 'hole', size: size - at }
    yield { type: 'end-file' }
    yield* this.#skip(paddingOf(stored))
  }

  *#oldSparseFile(entry: TarHeader, header: Uint8Array): Steps {
    const numbers: number[] = []
    const size = realSize(header)
    let found = readRegions(header, HEADER_REGIONS, numbers)
    while (found?.hasMore) {
      found = readRegions(yield* this.#take(BLOCK_BYTES), MORE_REGIONS, numbers)
      if (numbers.length > 2 * TAR_SPARSE_REGIONS_MAX) throw this.#tooManyRegions(entry.path)
    }
    if (!found || size === undefined)
      throw this.#invalid(`"${printable(entry.path)}" has a map of a sparse file that is no list of numbers`)
    yield* this.#file(entry, { numbers, size }, entry.size)
  }

  *#paxSparseFile(
    entry: TarHeader,
    { major, minor, size, numbers }: NonNullable<PaxFields['sparse']>,
  ): Steps {
    if (major > 1 || minor > 1 || size === undefined)
      throw this.#invalid(
        `"${printable(entry.path)}" is a sparse file in an unknown format, ${major}.${minor}`,
      )
    if (major === 0) {
      yield* this.#file(entry, { numbers, size }, entry.size)
      return
    }
    const map = new SparseMapText(TAR_SPARSE_REGIONS_MAX)
    let stored = entry.size
    while (!map.isComplete) {
      const isBeyond = stored < BLOCK_BYTES
      const fault = isBeyond
        ? 'a map of a sparse file without an end'
        : map.push(yield* this.#take(BLOCK_BYTES))
      if (fault) throw this.#invalid(`"${printable(entry.path)}" has ${fault}`)
      stored -= BLOCK_BYTES
    }
    yield* this.#file(entry, { numbers: map.numbers, size }, stored)
  }

  #tooManyRegions(path: Uint8Array): StoreError {
    return new StoreError(
      'exhausted',
      `tar: "${printable(path)}" is a sparse file of more than ${TAR_SPARSE_REGIONS_MAX} regions`,
    )
  }

  #applyRecords(fields: PaxFields, records: Uint8Array): void {
    const fault = applyPaxRecords(fields, records)
    if (fault) throw this.#invalid(fault)
  }

  /** What says more of the next entry than fits into its header. */
  *#extension({ size }: TarHeader): Steps<Uint8Array> {
    if (size > TAR_EXTENSION_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `tar: at byte ${this.#entryAt}: an extended header of ${size} bytes, more than ${TAR_EXTENSION_BYTES_MAX}`,
      )
    const extension = yield* this.#take(size)
    yield* this.#skip(paddingOf(size))
    return extension
  }

  *#contents(length: number): Steps {
    for (let missing = length; missing > 0; ) {
      const bytes = yield* this.#some(missing)
      missing -= bytes.length
      yield { type: 'contents', bytes }
    }
  }

  *#skip(length: number): Steps {
    for (let missing = length; missing > 0; ) missing -= (yield* this.#some(missing)).length
  }

  /** A copy of the next bytes. */
  *#take(length: number): Steps<Uint8Array> {
    const taken = new Uint8Array(length)
    for (let filled = 0; filled < length; ) {
      const bytes = yield* this.#some(length - filled)
      taken.set(bytes, filled)
      filled += bytes.length
    }
    return taken
  }

  /** At least one byte, at most so many, of this piece or the next. */
  *#some(max: number): Steps<Uint8Array> {
    while (this.#position === this.#piece.length) yield undefined
    const bytes = this.#piece.subarray(this.#position, this.#position + max)
    this.#position += bytes.length
    this.#consumed += bytes.length
    return bytes
  }

  #invalid(what: string): ValidationError {
    return new ValidationError('InvalidData', `not a valid tar archive: at byte ${this.#entryAt}: ${what}`)
  }
}

function paddingOf(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES
}
