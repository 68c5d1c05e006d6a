/** The file names of a binary cache (spec §7): `undefined` for what is not one. */
import { decodeNixbase32 } from './nixbase32.ts'

// Texts of these shapes always decode: the first of 52 characters carries one bit only.
const NAR_NAME = /^([01][0-9a-df-np-sv-z]{51})\.nar((?:\.[0-9a-z]+)?)$/
const NARINFO_NAME = /^([0-9a-df-np-sv-z]{32})\.narinfo$/

export interface NarFileName {
  /** SHA-256 of the NAR, 32 bytes. */
  readonly sha256: Uint8Array
  /** Of a compressed NAR, with its dot: `.xz`; else empty. */
  readonly suffix: string
}

/** `<nixbase32 sha256>.nar[.<compression>]`. */
export function parseNarFileName(text: string): NarFileName | undefined {
  const [, digits, suffix] = NAR_NAME.exec(text) ?? []
  return digits === undefined ? undefined : { sha256: decodeNixbase32(digits), suffix: suffix! }
}

/** `<nixbase32 output hash>.narinfo`: 20 bytes. */
export function parseNarInfoFileName(text: string): Uint8Array | undefined {
  const digits = NARINFO_NAME.exec(text)?.[1]
  return digits === undefined ? undefined : decodeNixbase32(digits)
}
