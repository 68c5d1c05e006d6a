import { describe, expect, it, test } from 'vitest'
import { blake3, createBlake3 } from '../../../../src/model/castore/blake3.ts'
import { Digest, Digester, EMPTY_DIGEST } from '../../../../src/model/castore/digest.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { vectorBlob, vectors } from '../../../support/vectors.ts'

interface BlobVector {
  readonly name: string
  readonly size: number
  readonly blake3_hex: string
  readonly display_tvix: string
}

describe('the digest of the blob', () => {
  for (const item of vectors.blobs.items as BlobVector[])
    it(item.name, () => {
      const contents = vectorBlob(item.name)
      expect(contents.length).toBe(item.size)
      expect(Digest.of(contents).hex).toBe(item.blake3_hex)
      expect(String(Digest.of(contents))).toBe(item.display_tvix)
    })
})

describe('BLAKE3 of the official test vector of', () => {
  for (const { input_len, blake3_hex } of vectors.blake3_official.cases as {
    input_len: number
    blake3_hex: string
  }[])
    it(`${input_len} bytes, at once and in pieces`, () => {
      const input = Uint8Array.from({ length: input_len }, (_, i) => i % 251)
      expect(hex(blake3(input))).toBe(blake3_hex)
      const hasher = createBlake3()
      for (let start = 0; start < input.length; start += 777)
        hasher.update(input.subarray(start, start + 777))
      expect(hex(hasher.digest())).toBe(blake3_hex)
    })
})

test('the two implementations agree around the size where they take turns', () => {
  for (const size of [1022, 1023, 1024, 1025]) {
    const hasher = createBlake3()
    hasher.update(pseudoRandom(size, size))
    expect(hex(blake3(pseudoRandom(size, size)))).toBe(hex(hasher.digest()))
  }
})

test('a digest keeps its bytes while others are computed', () => {
  const digests = Array.from({ length: 100 }, (_, i) => Digest.of(Uint8Array.of(i)))
  digests.forEach((digest, i) => {
    expect(digest.equals(Digest.of(Uint8Array.of(i)))).toBe(true)
  })
})

test('has 32 bytes, neither more nor fewer', () => {
  for (const length of [0, 1, 31, 33, 64])
    expect(() => Digest.fromBytes(new Uint8Array(length))).toThrow(`invalid digest length: ${length}`)
  expect(() => Digest.fromBytes(new Uint8Array(31))).toThrow(StoreError)
  expect(Digest.fromBytes(new Uint8Array(32)).hex).toBe(vectors.blobs.dummy_digests.DUMMY_DIGEST_hex)
})

test('prints the dummy digest as its peers do', () => {
  const { DUMMY_DIGEST_hex, DUMMY_DIGEST_display_tvix } = vectors.blobs.dummy_digests
  expect(String(Digest.fromHex(DUMMY_DIGEST_hex))).toBe(DUMMY_DIGEST_display_tvix)
})

test('has a key of its own for every digest', () => {
  const digests = Array.from({ length: 256 }, (_, i) => Digest.fromBytes(new Uint8Array(32).fill(i)))
  expect(new Set(digests.map((digest) => digest.key)).size).toBe(256)
  expect(digests[200]!.key).toHaveLength(32)
})

test('compares by value', () => {
  expect(Digest.of(Uint8Array.of(1)).equals(Digest.of(Uint8Array.of(1)))).toBe(true)
  expect(Digest.of(Uint8Array.of(1)).equals(EMPTY_DIGEST)).toBe(false)
})

test('a digester may be asked in between', () => {
  const digester = new Digester()
  expect(digester.digest().equals(EMPTY_DIGEST)).toBe(true)
  digester.update(Uint8Array.of(0))
  digester.digest()
  digester.update(Uint8Array.of(1))
  expect(digester.digest().equals(Digest.of(vectorBlob('BLOB_A')))).toBe(true)
})
