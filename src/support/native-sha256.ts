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

/** What tells whether a file is still the one that it was, and as it was: of a `BigIntStats`. */
export interface FileState {
  readonly size: bigint
  readonly ino: bigint
  readonly dev: bigint
  readonly nlink: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

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

/** As `struct file` of native/sha256.c. */
const RECORD_BYTES = 64
const OUTCOME_OFFSET = 56
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
    const records = Buffer.alloc(files.length * RECORD_BYTES)
    const paths = Buffer.alloc(files.reduce((sum, { path }) => sum + path.length + 1, 0))
    let [piece, file, path] = [0, 0, 0]
    for (const part of parts) {
      if (part instanceof Uint8Array) {
        piece++
        continue
      }
      writeRecord(records, file++ * RECORD_BYTES, part.state, piece, path)
      paths.set(part.path, path)
      path += part.path.length + 1
    }
    const result = await this.#native.update(this.#hash, pieces, records, paths)
    if (result !== 0) throw systemError(result)
    for (const [i, { path }] of files.entries()) {
      const outcome = records.readInt32LE(i * RECORD_BYTES + OUTCOME_OFFSET)
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

function writeRecord(records: Buffer, at: number, state: FileState, piece: number, path: number): void {
  records.writeBigUInt64LE(state.size, at)
  // Node reads these two as signed numbers.
  records.writeBigUInt64LE(BigInt.asUintN(64, state.ino), at + 8)
  records.writeBigUInt64LE(BigInt.asUintN(64, state.dev), at + 16)
  records.writeBigUInt64LE(state.nlink, at + 24)
  records.writeBigInt64LE(state.mtimeNs, at + 32)
  records.writeBigInt64LE(state.ctimeNs, at + 40)
  records.writeUInt32LE(piece, at + 48)
  records.writeUInt32LE(path, at + 52)
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
