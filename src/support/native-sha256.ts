/**
 * SHA-256 of bytes and of files, one behind the other. The addon reads and hashes in the thread pool; without it
 * JavaScript does the same, more slowly.
 */
import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { getSystemErrorName } from 'node:util'
import { loadAddon } from './addon.ts'
import { READ_BUFFER_BYTES } from './limits.ts'
import { type FileState, isSameState } from './source-records.ts'

/** All that is in a regular file, if it is in this state from the first byte to the last. */
export interface SourceFile {
  readonly path: Uint8Array
  readonly state: FileState
}

export interface Sha256 {
  /**
   * Hashes what comes next; one call at a time. Throws a system error, or ChangedFile, with the `path` that it is
   * about; the hash is of no use then.
   */
  update(parts: readonly (Uint8Array | SourceFile)[]): Promise<void>
  /** 32 bytes, once. */
  digest(): Uint8Array
}

/** A file is not in the state that it was said to be in. */
export class ChangedFile extends Error {
  readonly path: Uint8Array

  constructor(path: Uint8Array) {
    super('the file changed')
    this.path = path
  }
}

declare const hashBrand: unique symbol
interface NativeHash {
  readonly [hashBrand]: true
}

/** native/sha256.c */
interface NativeSha256 {
  create(): NativeHash | number
  update(
    hash: NativeHash,
    pieces: readonly Uint8Array[],
    files: Uint8Array,
    paths: Uint8Array,
  ): Promise<number> | number
  digest(hash: NativeHash, into: Uint8Array): number
}

const native = load()

function load(): NativeSha256 | undefined {
  try {
    return loadAddon('sha256') as NativeSha256
  } catch {
    return undefined
  }
}

/** `isNative`: for tests, which compare the two. */
export function createSha256(isNative = true): Sha256 {
  const hash = isNative ? native?.create() : undefined
  return hash === undefined || typeof hash === 'number' ? new SlowSha256() : new FastSha256(native!, hash)
}

/** As `struct file` of native/sha256.c, in words of 8 bytes; the outcome is the first half of the last one. */
const RECORD_WORDS = 8
const OUTCOME_WORD = 7
const CHANGED = 1
const DIGEST_BYTES = 32

class FastSha256 implements Sha256 {
  readonly #native: NativeSha256
  readonly #hash: NativeHash

  constructor(addon: NativeSha256, hash: NativeHash) {
    this.#native = addon
    this.#hash = hash
  }

  async update(parts: readonly (Uint8Array | SourceFile)[]): Promise<void> {
    const pieces: Uint8Array[] = []
    const files: SourceFile[] = []
    for (const part of parts) part instanceof Uint8Array ? pieces.push(part) : files.push(part)
    // Ten times as fast as the methods of Buffer, for seven numbers a file.
    const records = new BigUint64Array(files.length * RECORD_WORDS)
    const halves = new Uint32Array(records.buffer)
    const paths = Buffer.alloc(files.reduce((sum, { path }) => sum + path.length + 1, 0))
    let [piece, file, path] = [0, 0, 0]
    for (const part of parts) {
      if (part instanceof Uint8Array) {
        piece++
        continue
      }
      const at = RECORD_WORDS * file++
      writeState(records, at, part.state)
      halves[2 * (at + 6)] = piece
      halves[2 * (at + 6) + 1] = path
      paths.set(part.path, path)
      path += part.path.length + 1
    }
    const result = await this.#native.update(this.#hash, pieces, new Uint8Array(records.buffer), paths)
    if (result !== 0) throw systemError(result)
    for (const [i, { path }] of files.entries()) {
      const outcome = halves[2 * (i * RECORD_WORDS + OUTCOME_WORD)]! | 0
      if (outcome === CHANGED) throw new ChangedFile(path)
      if (outcome !== 0) throw Object.assign(systemError(outcome), { path })
    }
  }

  digest(): Uint8Array {
    const into = new Uint8Array(DIGEST_BYTES)
    const result = this.#native.digest(this.#hash, into)
    if (result !== 0) throw systemError(result)
    return into
  }
}

/** What Node reads as signed numbers is stored modulo 2^64. */
function writeState(records: BigUint64Array, at: number, state: FileState): void {
  records[at] = state.size
  records[at + 1] = state.ino
  records[at + 2] = state.dev
  records[at + 3] = state.nlink
  records[at + 4] = state.mtimeNs
  records[at + 5] = state.ctimeNs
}

function systemError(negativeErrno: number): Error {
  const code = getSystemErrorName(negativeErrno)
  return Object.assign(new Error(`${code}: hashing`), { code, errno: negativeErrno })
}

class SlowSha256 implements Sha256 {
  readonly #hash: Hash = createHash('sha256')

  async update(parts: readonly (Uint8Array | SourceFile)[]): Promise<void> {
    for (const part of parts) {
      if (part instanceof Uint8Array) this.#hash.update(part)
      else await this.#file(part)
    }
  }

  async #file({ path, state }: SourceFile): Promise<void> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    await using file = await open(Buffer.from(path), flags)
    const check = async () => {
      const now = await file.stat({ bigint: true })
      if (!now.isFile() || !isSameState(now, state)) throw new ChangedFile(path)
    }
    await check()
    let left = Number(state.size)
    const buffer = Buffer.allocUnsafeSlow(Math.min(left, READ_BUFFER_BYTES))
    while (left > 0) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(left, buffer.length))
      if (bytesRead === 0) throw new ChangedFile(path)
      this.#hash.update(buffer.subarray(0, bytesRead))
      left -= bytesRead
    }
    await check()
  }

  digest(): Uint8Array {
    return this.#hash.digest()
  }
}
