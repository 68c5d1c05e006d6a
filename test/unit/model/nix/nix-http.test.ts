import { describe, expect, test } from 'vitest'
import { parseNarFileName, parseNarInfoFileName } from '../../../../src/model/nix/nix-http.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

const { nar_str, nar_str_invalid, narinfo_str, narinfo_str_invalid } = vectors.nix_http
const DIGITS = '14cx20k6z4hq508kqi2lm79qfld5f9mf7kiafpqsjs3zlmycza0k'

describe('names of NARs', () => {
  test.each(nar_str as { s: string; sha256_hex: string; suffix: string }[])(
    '$s',
    ({ s, sha256_hex, suffix }) => {
      const name = parseNarFileName(s)!
      expect(hex(name.sha256)).toBe(sha256_hex)
      expect(name.suffix).toBe(suffix)
    },
  )

  test.each([
    ...nar_str_invalid,
    `2${DIGITS.slice(1)}.nar`, // more bits than 32 bytes have
    `1e${DIGITS.slice(2)}.nar`,
    `${DIGITS}.nar/x`,
    `${DIGITS}.nar\n`,
    `${DIGITS}.narinfo`,
    '',
  ])('%j is none', (text) => {
    expect(parseNarFileName(text)).toBeUndefined()
  })
})

describe('names of narinfos', () => {
  test.each(narinfo_str as { s: string; digest_hex: string }[])('$s', ({ s, digest_hex }) => {
    expect(hex(parseNarInfoFileName(s)!)).toBe(digest_hex)
  })

  test.each([...narinfo_str_invalid, '00bgd045z0d4icpbc2yyz4gx48ak44lu.narinfo'])('%j is none', (text) => {
    expect(parseNarInfoFileName(text)).toBeUndefined()
  })
})
