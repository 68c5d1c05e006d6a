/**
 * The entries of a tree of files, in the order of a NAR: depth first, names by their bytes. The addon lists and looks in
 * the thread pool, many entries a trip; without it JavaScript does the same, more slowly.
 */
import { constants, type Dirent, type Stats } from 'node:fs'
import { lstat, open, readdir, readlink } from 'node:fs/promises'
import { constants as system } from 'node:os'
import { loadAddon } from './addon.ts'
import { compareBytes, concatBytes, utf8 } from './bytes.ts'
import { systemCode } from './errors.ts'
import { DIRECTORY_NAMES_BYTES_MAX, TREE_DEPTH_MAX, WALK_ENTRIES, WALK_NAMES_BYTES } from './limits.ts'
import { FAILED, HALF, MARK, RECORD_BYTES, SourceRecords, WORD } from './source-records.ts'
import { systemError } from './system-error.ts'

export interface SourceWalk {
  /** `undefined` after the end of the tree. One call at a time. Nothing comes after a failure. */
  next(): Promise<SourceRecords | undefined>
}

declare const walkBrand: unique symbol
interface NativeWalk {
  readonly [walkBrand]: true
}

/** native/source_walk.c */
interface NativeSourceWalk {
  create(path: Uint8Array, depthMax: number, namesMax: number): NativeWalk | number
  next(walk: NativeWalk, records: Uint8Array, names: Uint8Array): Promise<number> | number
}

const native = load()

function load(): NativeSourceWalk | undefined {
  try {
    return loadAddon('source_walk') as NativeSourceWalk
  } catch {
    return undefined
  }
}

/** Of what is at `path`, which comes first, without a name. `isNative`: for tests, which compare the two. */
export function walkSource(path: Uint8Array, isNative = true): SourceWalk {
  const walk = isNative ? native?.create(path, TREE_DEPTH_MAX, DIRECTORY_NAMES_BYTES_MAX) : undefined
  return walk === undefined || typeof walk === 'number' ? new SlowWalk(path) : new FastWalk(native!, walk)
}

class FastWalk implements SourceWalk {
  readonly #native: NativeSourceWalk
  readonly #walk: NativeWalk
  readonly #records = new Uint8Array(WALK_ENTRIES * RECORD_BYTES)
  readonly #names = new Uint8Array(WALK_NAMES_BYTES)

  constructor(addon: NativeSourceWalk, walk: NativeWalk) {
    this.#native = addon
    this.#walk = walk
  }

  async next(): Promise<SourceRecords | undefined> {
    const count = await this.#native.next(this.#walk, this.#records, this.#names)
    if (count < 0) throw systemError(count, 'walking')
    if (count === 0) return undefined
    // Who keeps a name keeps all that came with it, which should not be more than there is.
    const records = this.#records.buffer.slice(0, count * RECORD_BYTES)
    const lengths = new Uint32Array(records)
    const last = 16 * (count - 1)
    const both = lengths[last + HALF.lengths]!
    const names = this.#names.slice(0, lengths[last + HALF.name]! + (both & 0xffff) + (both >>> 16))
    return new SourceRecords(count, records, Buffer.from(names.buffer))
  }
}

const SLASH = utf8('/')
const NO_BYTES = new Uint8Array(0)

/** A number of native/source_record.h, and what the system said. */
class WalkFailure extends Error {
  readonly what: number
  readonly errno: number

  constructor(what: number, errno = 0) {
    super()
    this.what = what
    this.errno = errno
  }
}

/** A `Dirent` or `Stats`. */
type Typed = Pick<
  Stats,
  'isDirectory' | 'isFile' | 'isSymbolicLink' | 'isFIFO' | 'isSocket' | 'isBlockDevice'
>

interface Level {
  readonly path: Uint8Array
  readonly entries: readonly Dirent<Buffer>[]
  next: number
}

class SlowWalk implements SourceWalk {
  readonly #levels: Level[] = []
  #path: Uint8Array
  #isBegun = false
  #isOver = false
  #count = 0
  #words = new BigInt64Array()
  #halves = new Uint32Array()
  #names: Uint8Array[] = []
  #namesBytes = 0

  constructor(path: Uint8Array) {
    this.#path = path
  }

  async next(): Promise<SourceRecords | undefined> {
    const records = new ArrayBuffer(WALK_ENTRIES * RECORD_BYTES)
    this.#words = new BigInt64Array(records)
    this.#halves = new Uint32Array(records)
    this.#count = 0
    this.#names = []
    this.#namesBytes = 0
    try {
      if (!this.#isBegun) await this.#begin()
      while (!this.#isOver && this.#count + 1 < WALK_ENTRIES) await this.#step()
    } catch (error) {
      this.#fail(error)
    }
    return this.#count === 0
      ? undefined
      : new SourceRecords(this.#count, records, Buffer.from(concatBytes(this.#names).buffer))
  }

  async #begin(): Promise<void> {
    this.#isBegun = true
    const state = await during(FAILED.stat, lstat(Buffer.from(this.#path)))
    await this.#entry(state, NO_BYTES)
    this.#isOver = this.#levels.length === 0
  }

  async #step(): Promise<void> {
    const level = this.#levels.at(-1)!
    const entry = level.entries[level.next++]
    if (entry) {
      this.#path = concatBytes([level.path, SLASH, entry.name])
      await this.#entry(entry, entry.name)
      return
    }
    this.#levels.pop()
    this.#add(MARK.end, NO_BYTES)
    this.#isOver = this.#levels.length === 0
  }

  async #entry(type: Typed, name: Uint8Array): Promise<void> {
    const path = Buffer.from(this.#path)
    if (type.isFile()) await this.#file(path, name)
    else if (type.isSymbolicLink()) {
      const target = await during(FAILED.readlink, readlink(path, { encoding: 'buffer' }))
      this.#add(constants.S_IFLNK, name, target)
    } else {
      this.#add(modeOf(type), name)
      if (type.isDirectory()) await this.#open()
    }
  }

  async #file(path: Buffer, name: Uint8Array): Promise<void> {
    const state = await during(FAILED.stat, lstat(path, { bigint: true }))
    if (!state.isFile()) throw new WalkFailure(FAILED.changed)
    const at = 8 * this.#count
    this.#words[at + WORD.size] = state.size
    this.#words[at + WORD.ino] = state.ino
    this.#words[at + WORD.dev] = state.dev
    this.#words[at + WORD.nlink] = state.nlink
    this.#words[at + WORD.mtimeNs] = state.mtimeNs
    this.#words[at + WORD.ctimeNs] = state.ctimeNs
    this.#add(Number(state.mode), name)
  }

  /** Lists the directory at the path. */
  async #open(): Promise<void> {
    if (this.#levels.length === TREE_DEPTH_MAX) throw new WalkFailure(FAILED.depth)
    const path = Buffer.from(this.#path)
    // It may have become a symlink, which is not followed.
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
    await during(
      FAILED.list,
      open(path, flags).then((found) => found.close()),
    )
    const entries = await during(FAILED.list, readdir(path, { withFileTypes: true, encoding: 'buffer' }))
    const bytes = entries.reduce((sum, { name }) => sum + name.length + 2, 0)
    if (bytes > DIRECTORY_NAMES_BYTES_MAX) throw new WalkFailure(FAILED.names)
    this.#levels.push({ path, entries: entries.sort((a, b) => compareBytes(a.name, b.name)), next: 0 })
  }

  #fail(error: unknown): void {
    if (!(error instanceof WalkFailure)) throw error
    const at = 8 * this.#count
    this.#words[at + WORD.failed] = BigInt(error.what)
    this.#words[at + WORD.errno] = BigInt(error.errno)
    this.#add(MARK.failure, this.#path)
    this.#isOver = true
  }

  #add(mode: number, name: Uint8Array, target = NO_BYTES): void {
    const at = 16 * this.#count++
    this.#halves[at + HALF.mode] = mode
    this.#halves[at + HALF.name] = this.#namesBytes
    this.#halves[at + HALF.lengths] = name.length + target.length * 0x10000
    this.#names.push(name, target)
    this.#namesBytes += name.length + target.length
  }
}

function modeOf(entry: Typed): number {
  if (entry.isDirectory()) return constants.S_IFDIR
  if (entry.isFIFO()) return constants.S_IFIFO
  if (entry.isSocket()) return constants.S_IFSOCK
  return entry.isBlockDevice() ? constants.S_IFBLK : constants.S_IFCHR
}

async function during<T>(what: number, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const errno = system.errno[(systemCode(error) ?? 'EIO') as keyof typeof system.errno]
    throw new WalkFailure(what, errno ?? system.errno.EIO)
  }
}
