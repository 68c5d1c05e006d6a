import { printable, view } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { decodeNixbase32, encodeNixbase32 } from './nixbase32.ts'

/** Not configurable: it is part of every fingerprint and of every content-addressed path (spec §1.11). */
export const STORE_DIR = '/nix/store'
/** Bytes of the digest, the "output hash" of the protocol. */
export const STORE_PATH_DIGEST_BYTES = 20

const STORE_PREFIX = `${STORE_DIR}/`
const DIGEST_CHARACTERS = 32
const NAME_CHARACTERS_MAX = 211
const FOREIGN_TO_NAMES = /[^A-Za-z0-9+\-_?=.]/
const NAME_RULE = 'the name of a store path has letters of ASCII, digits and + - _ ? = . only'

/** The 20-byte digest and the name that make a store path, `/nix/store/<nixbase32 digest>-<name>` (spec §1.11). */
export class StorePath {
  /** 20 bytes: the "output hash" of the protocol. */
  readonly digest: Uint8Array
  readonly name: string
  #basename: string | undefined

  private constructor(digest: Uint8Array, name: string) {
    this.digest = digest
    this.name = name
  }

  /** Throws ValidationError `InvalidLength` or `InvalidName`. Keeps the memory it is given. */
  static fromParts(digest: Uint8Array, name: string): StorePath {
    if (digest.length !== STORE_PATH_DIGEST_BYTES)
      throw new ValidationError(
        'InvalidLength',
        `a store path has a digest of ${STORE_PATH_DIGEST_BYTES} bytes, not ${digest.length}`,
      )
    checkStorePathName(name)
    return new StorePath(digest, name)
  }

  /**
   * From `<nixbase32 digest>-<name>`. Throws ValidationError `InvalidLength`, `MissingDash`,
   * `InvalidHashEncoding` or `InvalidName`.
   */
  static parse(basename: string | Uint8Array): StorePath {
    const text = typeof basename === 'string' ? basename : view(basename).toString('latin1')
    const length = text.length - DIGEST_CHARACTERS - 1
    if (length < 1 || length > NAME_CHARACTERS_MAX)
      throw invalid('InvalidLength', text, `a store path has a name of 1 to ${NAME_CHARACTERS_MAX} bytes`)
    if (text[DIGEST_CHARACTERS] !== '-')
      throw invalid('MissingDash', text, 'a dash separates digest and name of a store path')
    const name = text.slice(DIGEST_CHARACTERS + 1)
    const digest = decodeDigest(text)
    checkStorePathName(name)
    return new StorePath(digest, name)
  }

  /** From `/nix/store/<basename>`. Throws ValidationError `MissingStoreDir`, and what `parse` throws. */
  static fromAbsolutePath(path: string): StorePath {
    return StorePath.parse(belowStoreDir(path))
  }

  /** From a path to or into a store path; `rest` is what follows the slash after the basename, or empty. */
  static fromAbsolutePathFull(path: string): { storePath: StorePath; rest: string } {
    const below = belowStoreDir(path)
    const slash = below.indexOf('/')
    if (slash < 0) return { storePath: StorePath.parse(below), rest: '' }
    return { storePath: StorePath.parse(below.slice(0, slash)), rest: below.slice(slash + 1) }
  }

  get absolutePath(): string {
    return STORE_PREFIX + this.toString()
  }

  /** Negative, zero or positive; the order of the texts: digests from the last byte to the first, then names. */
  compare(other: StorePath): number {
    for (let i = STORE_PATH_DIGEST_BYTES - 1; i >= 0; i--) {
      const difference = this.digest[i]! - other.digest[i]!
      if (difference !== 0) return difference
    }
    if (this.name === other.name) return 0
    return this.name < other.name ? -1 : 1
  }

  /** The basename. */
  toString(): string {
    this.#basename ??= `${encodeNixbase32(this.digest)}-${this.name}`
    return this.#basename
  }
}

/** Throws ValidationError `InvalidLength` or `InvalidName` unless a store path may have this name. */
export function checkStorePathName(name: string): void {
  if (name.length < 1 || name.length > NAME_CHARACTERS_MAX)
    throw invalid('InvalidLength', name, `the name of a store path has 1 to ${NAME_CHARACTERS_MAX} bytes`)
  const foreign = name.search(FOREIGN_TO_NAMES)
  if (foreign >= 0) throw invalid('InvalidName', name, `${NAME_RULE}, not its character ${foreign}`)
}

function decodeDigest(basename: string): Uint8Array {
  try {
    return decodeNixbase32(basename.slice(0, DIGEST_CHARACTERS))
  } catch (cause) {
    throw invalid('InvalidHashEncoding', basename, 'the digest of a store path is nixbase32', cause)
  }
}

function belowStoreDir(path: string): string {
  if (!path.startsWith(STORE_PREFIX))
    throw invalid('MissingStoreDir', path, `a store path begins with ${STORE_PREFIX}`)
  return path.slice(STORE_PREFIX.length)
}

function invalid(variant: string, text: string, why: string, cause?: unknown): ValidationError {
  const shown = printable(Buffer.from(text.slice(0, 300), 'utf8'))
  return new ValidationError(variant, `"${shown}": ${why}`, { cause })
}
