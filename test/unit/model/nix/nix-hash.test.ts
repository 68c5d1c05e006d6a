import { describe, expect, test } from 'vitest'
import {
  HASH_BYTES,
  type HashAlgorithm,
  isHashAlgorithm,
  parseNixHash,
  printNixHash,
  printSri,
} from '../../../../src/model/nix/nix-hash.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

interface Digest {
  algo: HashAlgorithm
  hex: string
  nixbase32: string
  sri: string
  accept_with_or_without_external_algo: string[]
  accept_only_with_external_algo: string[]
}
const { nixhash, ca_hash } = vectors
const digests = nixhash.digests as Digest[]

describe.each(digests)('$algo', (digest) => {
  test.each(digest.accept_with_or_without_external_algo)('%s names its algorithm', (text) => {
    for (const hash of [parseNixHash(text), parseNixHash(text, digest.algo)]) {
      expect(hash.algorithm).toBe(digest.algo)
      expect(hex(hash.digest)).toBe(digest.hex)
    }
    const other = digests.find(({ algo }) => algo !== digest.algo)!.algo
    expect(() => parseNixHash(text, other)).toThrow(expect.objectContaining({ variant: 'InvalidAlgorithm' }))
  })

  test.each(digest.accept_only_with_external_algo)('%s does not', (text) => {
    expect(hex(parseNixHash(text, digest.algo).digest)).toBe(digest.hex)
    expect(() => parseNixHash(text)).toThrow(expect.objectContaining({ variant: 'MissingAlgorithm' }))
  })

  test('printing', () => {
    const hash = parseNixHash(digest.sri)
    expect(printSri(hash)).toBe(digest.sri)
    expect(printNixHash(hash)).toBe(`${digest.algo}:${digest.nixbase32}`)
    expect(hash.digest).toHaveLength(HASH_BYTES[digest.algo])
  })
})

describe('SRI', () => {
  test.each(nixhash.sri as { s: string; algo: HashAlgorithm; hex: string }[])('$s', (sri) => {
    const hash = parseNixHash(sri.s)
    expect([hash.algorithm, hex(hash.digest)]).toEqual([sri.algo, sri.hex])
  })

  test.each(nixhash.sri_invalid as string[])('%s is refused', (text) => {
    expect(() => parseNixHash(text)).toThrow(
      expect.objectContaining({ variant: expect.stringMatching(/^Invalid(Digest|Algorithm)$/) }),
    )
  })

  test('the printed form of the vector', () => {
    const { hex, serialised } = nixhash.json
    expect(printSri({ algorithm: 'sha256', digest: Buffer.from(hex, 'hex') })).toBe(serialised)
  })
})

describe('digests alone', () => {
  test.each(nixhash.plain_with_external_sha256_invalid as string[])('%s is refused', (text) => {
    expect(() => parseNixHash(text, 'sha256')).toThrow(expect.objectContaining({ variant: 'InvalidDigest' }))
  })

  test.each(ca_hash.json_hash_accepts as string[])('%s', (text) => {
    expect(hex(parseNixHash(text, 'sha256').digest)).toBe(ca_hash.json[0].digest_hex)
  })

  test.each(['', 'A'.repeat(64), 'g'.repeat(64), 'sha256', '='.repeat(44)])('%j is refused', (text) => {
    expect(() => parseNixHash(text, 'sha256')).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
  })
})

test('names of algorithms are not names of properties', () => {
  expect(isHashAlgorithm('sha512')).toBe(true)
  expect(isHashAlgorithm('toString')).toBe(false)
  expect(() => parseNixHash('constructor:00')).toThrow(
    expect.objectContaining({ variant: 'InvalidAlgorithm' }),
  )
})
