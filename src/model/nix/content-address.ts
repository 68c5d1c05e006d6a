import { printable, utf8 } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { HASH_BYTES, type HashAlgorithm, isHashAlgorithm } from './nix-hash.ts'
import { decodeNixbase32, encodeNixbase32 } from './nixbase32.ts'

/** How a path's name follows from its contents (spec §1.5). Text paths are always sha256. */
export interface ContentAddress {
  readonly kind: 'nar' | 'text' | 'flat'
  readonly algorithm: HashAlgorithm
  /** As long as the algorithm says. */
  readonly digest: Uint8Array
}

/** Throws ValidationError `InvalidContentAddress` for a digest of the wrong length, or text that is not sha256. */
export function contentAddress(
  kind: ContentAddress['kind'],
  algorithm: HashAlgorithm,
  digest: Uint8Array,
): ContentAddress {
  if (kind === 'text' && algorithm !== 'sha256')
    throw invalid(`text is addressed by sha256, not ${algorithm}`)
  if (digest.length !== HASH_BYTES[algorithm])
    throw invalid(`${digest.length} bytes are not a ${algorithm} digest`)
  return { kind, algorithm, digest }
}

/** From the text after `CA: ` of a narinfo. Throws ValidationError `InvalidContentAddress`. */
export function parseContentAddress(text: string): ContentAddress {
  const parts = /^(text|fixed:r|fixed):([a-z0-9]+):([^:]*)$/.exec(text)
  const shown = printable(utf8(text.slice(0, 300)))
  if (!parts) throw invalid(`"${shown}" is neither fixed:[r:]<algorithm>:<digest> nor text:sha256:<digest>`)
  const [, method, algorithm, digest] = parts as unknown as [string, string, string, string]
  if (!isHashAlgorithm(algorithm)) throw invalid(`"${shown}": unknown algorithm ${algorithm}`)
  return contentAddress(KINDS[method]!, algorithm, decodeDigest(shown, digest))
}

/** `fixed:r:sha256:<nixbase32>` and its kin. */
export function printContentAddress(ca: ContentAddress): string {
  return `${METHODS[ca.kind]}:${ca.algorithm}:${encodeNixbase32(ca.digest)}`
}

const METHODS: Readonly<Record<ContentAddress['kind'], string>> = {
  text: 'text',
  nar: 'fixed:r',
  flat: 'fixed',
}
const KINDS: Readonly<Record<string, ContentAddress['kind']>> = {
  text: 'text',
  'fixed:r': 'nar',
  fixed: 'flat',
}

function decodeDigest(shown: string, digest: string): Uint8Array {
  try {
    return decodeNixbase32(digest)
  } catch (cause) {
    throw invalid(`"${shown}": the digest is not nixbase32`, cause)
  }
}

function invalid(why: string, cause?: unknown): ValidationError {
  return new ValidationError('InvalidContentAddress', `invalid content address: ${why}`, { cause })
}
