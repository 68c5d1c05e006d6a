import { createHash } from 'node:crypto'
import { hex } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { ContentAddress } from './content-address.ts'
import { STORE_DIR, STORE_PATH_DIGEST_BYTES, StorePath } from './store-path.ts'

export interface ContentReferences {
  /** In any order, each once, without the path itself. */
  readonly references?: readonly StorePath[]
  /** Whether the contents mention their own path. */
  readonly selfReference?: boolean
}

/**
 * The store path that contents of this address and name have (spec §6.7). Throws ValidationError
 * `ReferencesNotAllowed` for references that the kind of address cannot carry, and what the name breaks.
 */
export function contentAddressedPath(
  name: string,
  ca: ContentAddress,
  { references = [], selfReference = false }: ContentReferences = {},
): StorePath {
  const recursiveSha256 = ca.kind === 'nar' && ca.algorithm === 'sha256'
  if (selfReference && !recursiveSha256)
    throw new ValidationError('ReferencesNotAllowed', `${name}: only a NAR by sha256 can refer to itself`)
  if (recursiveSha256)
    return storePathOf(withReferences('source', references, selfReference), ca.digest, name)
  if (ca.kind === 'text') return storePathOf(withReferences('text', references, false), ca.digest, name)
  if (references.length > 0)
    throw new ValidationError('ReferencesNotAllowed', `${name}: only text and NARs by sha256 can refer`)
  return storePathOf('output:out', fixedOutputDigest(ca), name)
}

/** The path of a NAR without references, which is what importing a tree makes. */
export function narStorePath(name: string, narSha256: Uint8Array): StorePath {
  return contentAddressedPath(name, { kind: 'nar', algorithm: 'sha256', digest: narSha256 })
}

function withReferences(type: string, references: readonly StorePath[], selfReference: boolean): string {
  const sorted = [...references].sort((a, b) => a.compare(b)).map((path) => path.absolutePath)
  return [type, ...sorted, ...(selfReference ? ['self'] : [])].join(':')
}

function fixedOutputDigest(ca: ContentAddress): Uint8Array {
  const method = ca.kind === 'nar' ? 'r:' : ''
  return sha256(`fixed:out:${method}${ca.algorithm}:${hex(ca.digest)}:`)
}

function storePathOf(type: string, innerSha256: Uint8Array, name: string): StorePath {
  const fingerprint = `${type}:sha256:${hex(innerSha256)}:${STORE_DIR}:${name}`
  return StorePath.fromParts(fold(sha256(fingerprint)), name)
}

/** 32 bytes XORed onto 20: byte i goes to position i mod 20. */
function fold(digest: Uint8Array): Uint8Array {
  const folded = new Uint8Array(STORE_PATH_DIGEST_BYTES)
  for (let i = 0; i < digest.length; i++) folded[i % STORE_PATH_DIGEST_BYTES]! ^= digest[i]!
  return folded
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
