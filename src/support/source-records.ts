/** What a walk of a file system tells of its entries, some hundred at a time, without an object for each. */
import { constants } from 'node:fs'

/** What tells whether a file is still the one that it was, and as it was: of a `BigIntStats`. */
export interface FileState {
  readonly size: bigint
  readonly ino: bigint
  readonly dev: bigint
  readonly nlink: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

/** Somebody who hard-links the file (Nix optimising its store) moves ctime and changes nothing. */
export function isSameState(now: FileState, then: FileState): boolean {
  return (
    now.size === then.size &&
    now.ino === then.ino &&
    now.dev === then.dev &&
    now.mtimeNs === then.mtimeNs &&
    (now.ctimeNs === then.ctimeNs || now.nlink !== then.nlink)
  )
}

/** As `struct source_record` of native/source_record.h. Numbers are in the byte order of this machine. */
export const RECORD_BYTES = 64
/** Of this system, with the NUL behind it. */
export const PATH_BYTES_MAX = 4096
/** Of 8 bytes each, signed, as those of a `BigIntStats`. */
export const WORD = {
  size: 0,
  ino: 1,
  dev: 2,
  nlink: 3,
  mtimeNs: 4,
  ctimeNs: 5,
  failed: 0,
  errno: 1,
} as const
/** Of 4 bytes each. The last one has the length of the name, and of the target in its upper 16 bits. */
export const HALF = { mode: 12, name: 13, lengths: 14, note: 15 } as const

/** In the place of a mode. */
export const MARK = { end: 0, failure: 1 } as const
/** What failed, as in native/source_record.h. */
export const FAILED = { stat: 0, list: 1, readlink: 2, changed: 3, depth: 4, names: 5 } as const

export type EntryKind =
  | 'directory'
  | 'file'
  | 'symlink'
  | 'fifo'
  | 'socket'
  | 'block device'
  | 'character device'

/** `end` of a directory, after all that is in it. A `failure` ends the walk. */
export type RecordKind = EntryKind | 'end' | 'failure'

const KINDS: Readonly<Record<number, EntryKind>> = {
  [constants.S_IFDIR]: 'directory',
  [constants.S_IFREG]: 'file',
  [constants.S_IFLNK]: 'symlink',
  [constants.S_IFIFO]: 'fifo',
  [constants.S_IFSOCK]: 'socket',
  [constants.S_IFBLK]: 'block device',
  [constants.S_IFCHR]: 'character device',
}

export function kindOfMode(mode: number): EntryKind {
  return KINDS[mode & constants.S_IFMT] ?? 'character device'
}

/** To a store a file is executable when its owner may execute it. */
export function isExecutable(mode: number): boolean {
  return (mode & constants.S_IXUSR) !== 0
}

/** Entries in the order of a NAR. A directory is followed by what is in it, and then by its `end`. */
export class SourceRecords {
  readonly count: number
  readonly bytes: Uint8Array
  /** `WORD` and `HALF` say what is where; of record i they begin at 8 × i and 16 × i. */
  readonly words: BigInt64Array
  readonly halves: Uint32Array
  readonly names: Buffer

  constructor(count: number, records: ArrayBuffer, names: Buffer) {
    this.count = count
    this.bytes = new Uint8Array(records)
    this.words = new BigInt64Array(records)
    this.halves = new Uint32Array(records)
    this.names = names
  }

  mode(i: number): number {
    return this.halves[16 * i + HALF.mode]!
  }

  kind(i: number): RecordKind {
    const mode = this.mode(i)
    if (mode === MARK.end) return 'end'
    return mode === MARK.failure ? 'failure' : kindOfMode(mode)
  }

  /** Of a failure: a path. */
  name(i: number): Buffer {
    const begin = this.halves[16 * i + HALF.name]!
    return this.names.subarray(begin, begin + (this.halves[16 * i + HALF.lengths]! & 0xffff))
  }

  /** One of FAILED, and the number of the system's error. */
  failure(i: number): { readonly what: number; readonly errno: number } {
    const at = 8 * i
    return { what: Number(this.words[at + WORD.failed]!), errno: Number(this.words[at + WORD.errno]!) }
  }

  /** Of a symlink. */
  target(i: number): Buffer {
    const lengths = this.halves[16 * i + HALF.lengths]!
    const begin = this.halves[16 * i + HALF.name]! + (lengths & 0xffff)
    return this.names.subarray(begin, begin + (lengths >>> 16))
  }

  /** Of a file, in bytes. */
  size(i: number): bigint {
    return this.words[8 * i + WORD.size]!
  }

  /** Of a file. */
  state(i: number): FileState {
    const at = 8 * i
    const { words } = this
    return {
      size: words[at + WORD.size]!,
      ino: words[at + WORD.ino]!,
      dev: words[at + WORD.dev]!,
      nlink: words[at + WORD.nlink]!,
      mtimeNs: words[at + WORD.mtimeNs]!,
      ctimeNs: words[at + WORD.ctimeNs]!,
    }
  }
}
