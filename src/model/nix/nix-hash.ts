import { hex, printable, utf8 } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { decodeNixbase32, encodeNixbase32, nixbase32Length } from './nixbase32.ts'

export type HashAlgorithm = 'md5' | 'sha1' | 'sha256' | 'sha512'

/** Bytes of a digest. */
export const HASH_BYTES: Readonly<Record<HashAlgorithm, number>> = {
  md5: 16,
  sha1: 20,
  sha256: 32,
  sha512: 64,
}

/** A digest and the algorithm that made it. */
export interface NixHash {
  readonly algorithm: HashAlgorithm
  /** As long as the algorithm says. */
  readonly digest: Uint8Array
}

export function isHashAlgorithm(text: string): text is HashAlgorithm {
  return Object.hasOwn(HASH_BYTES, text)
}

/**
 * From any text that Nix writes: `sha256:<digest>` with the digest in hex, nixbase32 or base64, SRI
 * (`sha256-<base64>`, padding optional, whatever follows a space or `?` ignored), or the digest alone where
 * `expected` names its algorithm. Throws ValidationError `InvalidAlgorithm`, `MissingAlgorithm` or `InvalidDigest`.
 */
export function parseNixHash(text: string, expected?: HashAlgorithm): NixHash {
  const tagged = /^([a-z0-9]+)([:-])(.*)$/s.exec(text)
  if (!tagged) {
    if (!expected) throw invalid('MissingAlgorithm', text, 'it does not name its algorithm')
    return { algorithm: expected, digest: decodeDigest(text, text, expected) }
  }
  const [, algorithm, separator, body] = tagged as unknown as [string, string, ':' | '-', string]
  if (!isHashAlgorithm(algorithm)) throw invalid('InvalidAlgorithm', text, `unknown algorithm ${algorithm}`)
  if (expected && algorithm !== expected) throw invalid('InvalidAlgorithm', text, `${expected} is expected`)
  const digest = separator === '-' ? decodeSri(text, body, algorithm) : decodeDigest(text, body, algorithm)
  return { algorithm, digest }
}

/** `sha256:<nixbase32>`. */
export function printNixHash(hash: NixHash): string {
  return `${hash.algorithm}:${encodeNixbase32(hash.digest)}`
}

/** `sha256-<base64>`. */
export function printSri(hash: NixHash): string {
  return `${hash.algorithm}-${encodeBase64(hash.digest)}`
}

/** The three encodings of a digest differ in length, for every algorithm. */
function decodeDigest(text: string, body: string, algorithm: HashAlgorithm): Uint8Array {
  const length = HASH_BYTES[algorithm]
  if (body.length === 2 * length) {
    const digest = Buffer.from(body, 'hex')
    if (hex(digest) === body) return digest
  } else if (body.length === nixbase32Length(length)) {
    return decodeNixbase32(body)
  } else {
    const digest = decodeBase64(body)
    if (digest?.length === length) return digest
  }
  throw invalid('InvalidDigest', text, `no ${algorithm} digest in lower-case hex, nixbase32 or base64`)
}

function decodeSri(text: string, body: string, algorithm: HashAlgorithm): Uint8Array {
  const bare = /^[^\s?]*/.exec(body)![0].replace(/={0,2}$/, '')
  const digest = decodeBase64(bare + '='.repeat((4 - (bare.length % 4)) % 4))
  if (digest?.length !== HASH_BYTES[algorithm])
    throw invalid('InvalidDigest', text, `no ${algorithm} digest in base64`)
  return digest
}

function invalid(variant: string, text: string, why: string): ValidationError {
  return new ValidationError(variant, `"${printable(utf8(text.slice(0, 300)))}" is not a hash: ${why}`)
}
