/**
 * Extended attributes tell the digest of a file or directory (spec §5.7). Both names are answered, with the
 * value in the form of the implementation that uses the name; only the first is listed, so that a copy with
 * attributes does not carry the same thing twice.
 */
import type { Digest } from '../../model/castore/digest.ts'
import { utf8, view } from '../../support/bytes.ts'

const SUBJECT = { directory: 'directory', file: 'blob' } as const

export type XattrKind = keyof typeof SUBJECT

export function xattrNames(kind: XattrKind): readonly string[] {
  return [`user.tvix.castore.${SUBJECT[kind]}.digest`]
}

/** `undefined`: nothing of that name. */
export function xattrValue(kind: XattrKind, digest: Digest, name: string): Uint8Array | undefined {
  if (name === `user.tvix.castore.${SUBJECT[kind]}.digest`) return utf8(digest.toString())
  if (name === `user.snix.castore.${SUBJECT[kind]}.digest`)
    return utf8(`blake3-${view(digest.bytes).toString('base64')}`)
  return undefined
}
