import { ValidationError } from '../castore/validation-error.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'

/** Nix takes any; upstream letters, digits, `.` and `-`, and refuses all of a narinfo for the signature of another, such as `my_key-1`. */
const NAME = /^[!-9;-~]+$/

/** Whether a key may have this name. */
export function isKeyName(name: string): boolean {
  return NAME.test(name)
}

/**
 * `name:base64`, the text of signatures and keys (spec §6.6), where the bytes must be `length` many. Throws
 * ValidationError `MissingSeparator`, `InvalidName`, `<lengthVariant>` or `DecodeError`. The text may be a
 * secret key, so no message repeats it.
 */
export function parseNamed(
  text: string,
  what: string,
  length: number,
  lengthVariant: string,
): { name: string; bytes: Uint8Array } {
  const colon = text.indexOf(':')
  if (colon < 0) throw new ValidationError('MissingSeparator', `${what}: no colon after the name of the key`)
  const name = text.slice(0, colon)
  if (!isKeyName(name))
    throw new ValidationError(
      'InvalidName',
      `${what}: the name of a key is of ASCII characters without blanks and colons`,
    )
  const base64 = text.slice(colon + 1)
  if (base64.length !== 4 * Math.ceil(length / 3))
    throw new ValidationError(
      lengthVariant,
      `${what} of "${name}": not the length of ${length} bytes in base64`,
    )
  const bytes = decodeBase64(base64)
  if (bytes?.length !== length)
    throw new ValidationError('DecodeError', `${what} of "${name}": not ${length} bytes in padded base64`)
  return { name, bytes }
}

export function printNamed(name: string, bytes: Uint8Array): string {
  return `${name}:${encodeBase64(bytes)}`
}
