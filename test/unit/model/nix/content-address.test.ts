import { describe, expect, test } from 'vitest'
import {
  contentAddress,
  parseContentAddress,
  printContentAddress,
} from '../../../../src/model/nix/content-address.ts'
import { HASH_BYTES, type HashAlgorithm } from '../../../../src/model/nix/nix-hash.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

interface Case {
  s: string
  kind: string
  digest_hex: string
}
const refusal = expect.objectContaining({ variant: 'InvalidContentAddress' })

describe('text', () => {
  test.each(vectors.ca_hash.nix_strings as Case[])('$s', ({ s, kind, digest_hex }) => {
    const ca = parseContentAddress(s)
    expect(`${ca.kind}(${ca.algorithm})`).toBe(kind.toLowerCase())
    expect(hex(ca.digest)).toBe(digest_hex)
    expect(printContentAddress(ca)).toBe(s)
  })

  test('the parts of the JSON form are those of the text', () => {
    for (const { kind, digest_hex, serialised } of vectors.ca_hash.json) {
      const ca = parseContentAddress(`fixed:${serialised.hashAlgo}:${serialised.hash}`)
      expect(`${ca.kind}(${ca.algorithm})`).toBe(kind.toLowerCase())
      expect(hex(ca.digest)).toBe(digest_hex)
    }
  })

  test.each([
    'foo',
    'text:sha1:1ak1ymbmsfx7z8kh09jzkr3a4dvkrfjw',
    'fixed:sha256:1ak1ymbmsfx7z8kh09jzkr3a4dvkrfjw',
    'fixed:r:sha384:1ak1ymbmsfx7z8kh09jzkr3a4dvkrfjw',
    'fixed:git:sha1:1ak1ymbmsfx7z8kh09jzkr3a4dvkrfjw',
    'fixed:r:sha1:uuuuymbmsfx7z8kh09jzkr3a4dvkrfjw',
    'fixed:r:sha1:1ak1ymbmsfx7z8kh09jzkr3a4dvkrfjw ',
    '',
  ])('%j is refused', (text) => {
    expect(() => parseContentAddress(text)).toThrow(refusal)
  })
})

describe('parts', () => {
  test.each(Object.entries(HASH_BYTES) as [HashAlgorithm, number][])(
    '%s has %i bytes',
    (algorithm, length) => {
      const digest = new Uint8Array(length)
      for (const kind of ['nar', 'flat'] as const) {
        expect(parseContentAddress(printContentAddress(contentAddress(kind, algorithm, digest)))).toEqual({
          kind,
          algorithm,
          digest,
        })
        expect(() => contentAddress(kind, algorithm, new Uint8Array(length + 1))).toThrow(refusal)
      }
    },
  )

  test('text is sha256 only', () => {
    expect(contentAddress('text', 'sha256', new Uint8Array(32)).kind).toBe('text')
    expect(() => contentAddress('text', 'sha1', new Uint8Array(20))).toThrow(refusal)
  })
})
