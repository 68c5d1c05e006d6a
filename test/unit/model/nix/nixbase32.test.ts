import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import { parseNixHash } from '../../../../src/model/nix/nix-hash.ts'
import { decodeNixbase32, encodeNixbase32, nixbase32Length } from '../../../../src/model/nix/nixbase32.ts'
import { compareBytes } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

const { nixbase32 } = vectors

describe('nixbase32', () => {
  test.each(nixbase32.encode as { bytes_hex: string; text: string }[])('"$text"', ({ bytes_hex, text }) => {
    expect(encodeNixbase32(Buffer.from(bytes_hex, 'hex'))).toBe(text)
    expect(Buffer.from(decodeNixbase32(text)).toString('hex')).toBe(bytes_hex)
  })

  test.each([...nixbase32.decode_invalid, { text: 'e0' }, { text: '00é' }, { text: '0\u{1f98a}' }] as {
    text: string
  }[])('"$text" is refused', ({ text }) => {
    expect(() => decodeNixbase32(text)).toThrow(expect.objectContaining({ variant: 'InvalidEncoding' }))
  })

  test('lengths', () => {
    for (const [bytes, characters] of nixbase32.encode_len) expect(nixbase32Length(bytes)).toBe(characters)
    for (const [characters, bytes] of nixbase32.decode_len)
      if (nixbase32Length(bytes) === characters)
        expect(decodeNixbase32('0'.repeat(characters))).toHaveLength(bytes)
      else expect(() => decodeNixbase32('0'.repeat(characters))).toThrow()
  })

  test('a text of one byte is no digest', () => {
    const { text, want_bytes } = nixbase32.decode_fixed_len_mismatch
    expect(decodeNixbase32(text)).toHaveLength(1)
    expect(want_bytes).toBe(32)
    expect(() => parseNixHash(`sha256:${text}`)).toThrow(ValidationError)
  })

  test('any bytes come back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(decodeNixbase32(encodeNixbase32(bytes))).toEqual(bytes)
      }),
    )
  })

  test('any text is refused, or is the one text of its bytes', () => {
    const text = fc.string({ unit: fc.constantFrom(...nixbase32.alphabet), maxLength: 60 })
    fc.assert(
      fc.property(text, (text) => {
        const bytes = attempt(() => decodeNixbase32(text))
        if (bytes) expect(encodeNixbase32(bytes)).toBe(text)
      }),
    )
  })

  test('texts sort as the reversed bytes', () => {
    const digest = fc.uint8Array({ minLength: 20, maxLength: 20 })
    fc.assert(
      fc.property(digest, digest, (a, b) => {
        const texts =
          encodeNixbase32(a) < encodeNixbase32(b) ? -1 : encodeNixbase32(a) > encodeNixbase32(b) ? 1 : 0
        expect(Math.sign(compareBytes(a.toReversed(), b.toReversed()))).toBe(texts)
      }),
    )
  })
})

function attempt<T>(run: () => T): T | undefined {
  try {
    return run()
  } catch {
    return undefined
  }
}
