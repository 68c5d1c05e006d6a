/** SHA-256 of bytes, in the thread pool; without the addon on the spot. */
import { createHash, type Hash } from 'node:crypto'
import { loadAddon } from './addon.ts'
import { systemError } from './system-error.ts'

export interface Sha256 {
  /** Hashes what comes next, which must not change meanwhile; one call at a time. */
  update(pieces: readonly Uint8Array[]): Promise<void>
  /** 32 bytes, once. */
  digest(): Uint8Array
}

declare const hashBrand: unique symbol
interface NativeHash {
  readonly [hashBrand]: true
}

/** native/sha256.c */
interface NativeSha256 {
  create(): NativeHash | number
  update(hash: NativeHash, pieces: readonly Uint8Array[]): Promise<number> | number
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

const DIGEST_BYTES = 32

class FastSha256 implements Sha256 {
  readonly #native: NativeSha256
  readonly #hash: NativeHash

  constructor(addon: NativeSha256, hash: NativeHash) {
    this.#native = addon
    this.#hash = hash
  }

  async update(pieces: readonly Uint8Array[]): Promise<void> {
    const result = await this.#native.update(this.#hash, pieces)
    if (result !== 0) throw systemError(result, 'hashing')
  }

  digest(): Uint8Array {
    const into = new Uint8Array(DIGEST_BYTES)
    const result = this.#native.digest(this.#hash, into)
    if (result !== 0) throw systemError(result, 'hashing')
    return into
  }
}

class SlowSha256 implements Sha256 {
  readonly #hash: Hash = createHash('sha256')

  async update(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) this.#hash.update(piece)
  }

  digest(): Uint8Array {
    return this.#hash.digest()
  }
}
