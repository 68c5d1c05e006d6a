import { view } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { PACK_KEY_BYTES_MAX } from '../../support/limits.ts'
import { checkKey } from './key.ts'

/**
 * Keys as packs and their index have them: as they are, but that `<prefix>/<4 hex>/<64 hex>`, where the four begin the
 * sixty-four, is the prefix, a zero and 32 bytes. Nearly all keys are of this kind, and so take half the room. The order of
 * keys with one prefix stays what it was.
 */
const FANNED_OUT = /^(.+)\/([0-9a-f]{4})\/(\2[0-9a-f]{60})$/
/** What a key of that kind ends with. */
export const KEY_DIGEST_BYTES = 32

/** Throws `internal` for what is no key, or too long. */
export function encodeKey(key: string): Buffer {
  checkKey(key)
  const [, prefix, , hex] = FANNED_OUT.exec(key) ?? []
  const bytes = prefix === undefined ? Buffer.from(key, 'latin1') : fannedOutKey(prefix)
  if (hex !== undefined) bytes.write(hex, bytes.length - KEY_DIGEST_BYTES, 'hex')
  if (bytes.length > PACK_KEY_BYTES_MAX)
    throw new StoreError('internal', `an object key of ${key.length} characters: ${key.slice(0, 40)}…`)
  return bytes
}

/** Of all keys `<prefix>/<4 hex>/<64 hex>`; what it ends with, 32 bytes, is to be filled in. */
export function fannedOutKey(prefix: string): Buffer {
  const bytes = Buffer.alloc(prefix.length + 1 + KEY_DIGEST_BYTES)
  bytes.write(prefix, 'latin1')
  return bytes
}

export function decodeKey(bytes: Uint8Array): string {
  const buffer = view(bytes)
  const zero = buffer.length - KEY_DIGEST_BYTES - 1
  if (zero < 1 || buffer.indexOf(0) !== zero) return buffer.toString('latin1')
  const hex = buffer.toString('hex', zero + 1)
  return `${buffer.toString('latin1', 0, zero)}/${hex.slice(0, 4)}/${hex}`
}

/** What all encoded keys begin with, in one of these ways, that begin with `prefix`; others may begin so as well. */
export function encodedPrefixes(prefix: string): Buffer[] {
  const prefixes = [Buffer.from(prefix, 'latin1')]
  for (let slash = prefix.indexOf('/'); slash > 0; slash = prefix.indexOf('/', slash + 1)) {
    const [fan, hex = ''] = prefix.slice(slash + 1).split('/', 2) as [string, string?]
    const digits = hex.length > fan.length ? hex : fan
    if (!/^[0-9a-f]*$/.test(digits)) continue
    prefixes.push(
      Buffer.from(`${hexOf(prefix.slice(0, slash))}00${digits.slice(0, digits.length & ~1)}`, 'hex'),
    )
  }
  return prefixes
}

function hexOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex')
}
