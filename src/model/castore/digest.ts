import { equalBytes, hex, view } from '../../support/bytes.ts'
import { BLAKE3_BYTES, BLAKE3_OF_NOTHING, type Blake3Hasher, blake3, createBlake3 } from './blake3.ts'
import { ValidationError } from './validation-error.ts'

/** The BLAKE3 digest that addresses a blob, a chunk or a directory: 32 bytes. */
export class Digest {
  readonly bytes: Uint8Array
  #key: string | undefined

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  /** The digest of `contents`. */
  static of(contents: Uint8Array): Digest {
    return new Digest(blake3(contents))
  }

  /** Throws InvalidDigestLen unless there are exactly 32 bytes (spec §1.7). Keeps the memory it is given. */
  static fromBytes(bytes: Uint8Array): Digest {
    if (bytes.length !== BLAKE3_BYTES)
      throw new ValidationError('InvalidDigestLen', `invalid digest length: ${bytes.length}`)
    return new Digest(bytes)
  }

  /** From 64 hexadecimal digits. Buffer.from stops at the first character that is none, so the length is checked. */
  static fromHex(text: string): Digest {
    if (text.length !== 2 * BLAKE3_BYTES)
      throw new ValidationError(
        'InvalidDigestLen',
        `invalid digest length: ${text.length} hexadecimal digits`,
      )
    return Digest.fromBytes(Buffer.from(text, 'hex'))
  }

  /** A one-to-one string for use as a map key: 32 characters, one a byte. Not for people. */
  get key(): string {
    this.#key ??= view(this.bytes).toString('latin1')
    return this.#key
  }

  get hex(): string {
    return hex(this.bytes)
  }

  equals(other: Digest): boolean {
    return equalBytes(this.bytes, other.bytes)
  }

  /** The text form of tvix, in messages and extended attributes: `b3:` and padded base64 (spec §1.7). */
  toString(): string {
    return `b3:${view(this.bytes).toString('base64')}`
  }
}

/** Hashes a stream of bytes. */
export class Digester {
  readonly #hasher: Blake3Hasher = createBlake3()

  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes)
  }

  digest(): Digest {
    return Digest.fromBytes(this.#hasher.digest())
  }
}

export const EMPTY_DIGEST = Digest.fromHex(BLAKE3_OF_NOTHING)
