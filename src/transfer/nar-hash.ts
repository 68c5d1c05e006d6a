/**
 * Size and SHA-256 of the NAR of a tree, of what its walk found. The addon reads files and hashes them in the thread pool;
 * without it JavaScript does the same, more slowly. Those that are read anyway come as bytes.
 */
import { createHash, type Hash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { pathComponent } from '../model/castore/path-component.ts'
import { symlinkTarget } from '../model/castore/symlink-target.ts'
import type { NarEvent } from '../model/nar/event.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { NarDigest } from '../services/pathinfos/interface.ts'
import { loadAddon } from '../support/addon.ts'
import { concatBytes, utf8 } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { READ_BUFFER_BYTES } from '../support/limits.ts'
import {
  type FileState,
  HALF,
  isExecutable,
  isSameState,
  PATH_BYTES_MAX,
  type SourceRecords,
} from '../support/source-records.ts'
import { systemError } from '../support/system-error.ts'
import { changedFile, OPEN_SOURCE_FLAGS, sourceError } from './source.ts'

/** Records of a walk from one to another, which it does not take with it any more; or contents of the file that was given. */
export type NarPart =
  | { readonly records: SourceRecords; readonly from: number; readonly to: number }
  | Uint8Array

export interface NarHash {
  /**
   * Hashes what comes next in the order of the walk; one call at a time, and nothing of it may change meanwhile. Throws what
   * says which file could not be read, or is not as the walk found it; the hash is of no use then.
   */
  update(parts: readonly NarPart[]): Promise<void>
  /** Once, after the whole tree. */
  digest(): NarDigest
}

/** NOTE_GIVEN of native/nar_frame.c */
const GIVEN = 1

/** The contents of this file follow its record as bytes. */
export function markGiven({ halves }: SourceRecords, i: number): void {
  halves[16 * i + HALF.note] = GIVEN
}

declare const hashBrand: unique symbol
interface NativeHash {
  readonly [hashBrand]: true
}

/** native/nar_hash.c */
interface NativeNarHash {
  create(path: Uint8Array): NativeHash | number
  update(hash: NativeHash, arrays: readonly Uint8Array[], ranges: Uint32Array): Promise<number> | number
  path(hash: NativeHash, into: Uint8Array): number
  digest(hash: NativeHash, into: Uint8Array): number
}

const native = load()

function load(): NativeNarHash | undefined {
  try {
    return loadAddon('nar_hash') as NativeNarHash
  } catch {
    return undefined
  }
}

/** Of the NAR of what is at `path`. `isNative`: for tests, which compare the two. */
export function createNarHash(path: Uint8Array, isNative = true): NarHash {
  const hash = isNative ? native?.create(path) : undefined
  return hash === undefined || typeof hash === 'number'
    ? new SlowNarHash(path)
    : new FastNarHash(native!, hash)
}

const SHA256_BYTES = 32
const CHANGED = 1

class FastNarHash implements NarHash {
  readonly #native: NativeNarHash
  readonly #hash: NativeHash

  constructor(addon: NativeNarHash, hash: NativeHash) {
    this.#native = addon
    this.#hash = hash
  }

  async update(parts: readonly NarPart[]): Promise<void> {
    const arrays: Uint8Array[] = []
    const ranges = new Uint32Array(2 * parts.length)
    for (const [i, part] of parts.entries()) {
      if (part instanceof Uint8Array) {
        arrays.push(part)
        continue
      }
      arrays.push(part.records.bytes, part.records.names)
      ranges[2 * i] = part.from
      ranges[2 * i + 1] = part.to
    }
    const result = await this.#native.update(this.#hash, arrays, ranges)
    if (result === 0) return
    const path = this.#path()
    throw result === CHANGED ? changedFile(path) : sourceError('read', path, systemError(result))
  }

  #path(): Uint8Array {
    const path = new Uint8Array(PATH_BYTES_MAX)
    return path.subarray(0, Math.max(0, this.#native.path(this.#hash, path)))
  }

  digest(): NarDigest {
    const narSha256 = new Uint8Array(SHA256_BYTES)
    const size = this.#native.digest(this.#hash, narSha256)
    if (size < 0) throw incomplete()
    return { narSize: BigInt(size), narSha256 }
  }
}

function incomplete(): StoreError {
  return new StoreError('internal', 'the NAR of a tree is not complete')
}

const SLASH = utf8('/')

class SlowNarHash implements NarHash {
  readonly #hash: Hash = createHash('sha256')
  readonly #writer = new NarWriter()
  readonly #root: Uint8Array
  /** Of the directories that are open. */
  readonly #folders: Uint8Array[] = []
  /** Of the file that is given. */
  #missing = 0

  constructor(root: Uint8Array) {
    this.#root = root
  }

  async update(parts: readonly NarPart[]): Promise<void> {
    for (const part of parts) {
      if (part instanceof Uint8Array) this.#contents(part)
      else for (let i = part.from; i < part.to; i++) await this.#record(part.records, i)
    }
    this.#take()
  }

  async #record(records: SourceRecords, i: number): Promise<void> {
    const kind = records.kind(i)
    if (kind === 'end') {
      this.#folders.pop()
      this.#write({ type: 'end-directory' })
      return
    }
    const folder = this.#folders.at(-1)
    const path = folder ? concatBytes([folder, SLASH, records.name(i)]) : this.#root
    if (folder) this.#write({ type: 'entry', name: pathComponent(records.name(i)) })
    if (kind === 'directory') {
      this.#folders.push(path)
      this.#write({ type: 'directory' })
    } else if (kind === 'symlink') this.#write({ type: 'symlink', target: symlinkTarget(records.target(i)) })
    else await this.#file(path, records, i)
  }

  async #file(path: Uint8Array, records: SourceRecords, i: number): Promise<void> {
    const size = Number(records.size(i))
    this.#write({ type: 'file', executable: isExecutable(records.mode(i)), size })
    this.#missing = size
    if (records.halves[16 * i + HALF.note] !== GIVEN)
      await this.#read(path, records.state(i)).catch((error) => {
        throw sourceError('read', path, error)
      })
    if (this.#missing === 0) this.#write({ type: 'end-file' })
  }

  async #read(path: Uint8Array, state: FileState): Promise<void> {
    await using file = await open(Buffer.from(path), OPEN_SOURCE_FLAGS)
    const check = async () => {
      const now = await file.stat({ bigint: true })
      if (!now.isFile() || !isSameState(now, state)) throw changedFile(path)
    }
    await check()
    const buffer = Buffer.allocUnsafeSlow(Math.min(this.#missing, READ_BUFFER_BYTES))
    while (this.#missing > 0) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(this.#missing, buffer.length))
      if (bytesRead === 0) throw changedFile(path)
      this.#contents(buffer.subarray(0, bytesRead), false)
      this.#take()
    }
    await check()
  }

  #contents(bytes: Uint8Array, isGiven = true): void {
    this.#write({ type: 'contents', bytes })
    this.#missing -= bytes.length
    if (isGiven && this.#missing === 0) this.#write({ type: 'end-file' })
  }

  #write(event: NarEvent): void {
    this.#writer.write(event)
  }

  #take(): void {
    for (const piece of this.#writer.take()) this.#hash.update(piece)
  }

  digest(): NarDigest {
    if (!this.#writer.done) throw incomplete()
    return { narSize: BigInt(this.#writer.bytesWritten), narSha256: this.#hash.digest() }
  }
}
