/**
 * Nix's own base 32 (spec §1.11): an alphabet without e, o, u and t, and the bits taken from the last byte to
 * the first, so that the text of a digest sorts as its reversed bytes.
 */
import { ValidationError } from '../castore/validation-error.ts'

const ALPHABET = '0123456789abcdfghijklmnpqrsvwxyz'
const BITS = 5

const VALUES = new Int8Array(128).fill(-1)
for (let value = 0; value < ALPHABET.length; value++) VALUES[ALPHABET.charCodeAt(value)] = value

/** Characters that `bytes` bytes take. */
export function nixbase32Length(bytes: number): number {
  return Math.ceil((bytes * 8) / BITS)
}

export function encodeNixbase32(bytes: Uint8Array): string {
  let text = ''
  for (let digit = nixbase32Length(bytes.length) - 1; digit >= 0; digit--) {
    const index = (digit * BITS) >>> 3
    const shift = (digit * BITS) & 7
    const pair = bytes[index]! | ((bytes[index + 1] ?? 0) << 8)
    text += ALPHABET[(pair >>> shift) & 0x1f]
  }
  return text
}

/** Throws ValidationError `InvalidEncoding`: a length that no bytes have, a foreign character, or bits left over. */
export function decodeNixbase32(text: string): Uint8Array {
  const bytes = new Uint8Array((text.length * BITS) >>> 3)
  if (nixbase32Length(bytes.length) !== text.length) throw invalid(`no bytes take ${text.length} characters`)
  for (let digit = 0; digit < text.length; digit++) {
    const position = text.length - 1 - digit
    const value = VALUES[text.charCodeAt(position)] ?? -1
    if (value < 0) throw invalid(`character ${position} is not in its alphabet`)
    const index = (digit * BITS) >>> 3
    const bits = value << ((digit * BITS) & 7)
    bytes[index]! |= bits
    if (index + 1 < bytes.length) bytes[index + 1]! |= bits >>> 8
    else if (bits > 0xff) throw invalid('non-zero bits are left over')
  }
  return bytes
}

function invalid(why: string): ValidationError {
  return new ValidationError('InvalidEncoding', `not nixbase32: ${why}`)
}
