import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { Chunker, ChunkSplitter } from '../../../../src/model/castore/fastcdc.ts'
import { concatBytes } from '../../../../src/support/bytes.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { vectorBlob, vectors } from '../../../support/vectors.ts'

/** The loop of spec §3.3 word for word, in 64-bit integers: what the fast one must agree with. */
function referenceCut(bytes: Uint8Array, avg: number): number {
  const masks = vectors.fastcdc.masks_by_bits_hex
  const bits = Math.round(Math.log2(avg))
  const strict = BigInt(`0x${masks[bits + 1]}`)
  const loose = BigInt(`0x${masks[bits - 1]}`)
  const [min, max] = [avg / 2, avg * 2]
  const length = bytes.length
  if (length <= min) return length
  const end = Math.min(length, max)
  const centre = Math.min(length, avg)
  let hash = 0n
  for (let index = Math.floor(min / 2); index < Math.floor(end / 2); index++) {
    const mask = index < Math.floor(centre / 2) ? strict : loose
    hash = BigInt.asUintN(64, (hash << 2n) + BigInt.asUintN(64, gear(bytes[index * 2]!) << 1n))
    if ((hash & (mask << 1n)) === 0n) return index * 2
    hash = BigInt.asUintN(64, hash + gear(bytes[index * 2 + 1]!))
    if ((hash & mask) === 0n) return index * 2 + 1
  }
  return end
}

const GEAR = Array.from({ length: 256 }, (_, byte) =>
  createHash('md5').update(Buffer.alloc(64, byte)).digest().readBigUInt64BE(0),
)

function gear(byte: number): bigint {
  return GEAR[byte]!
}

function cutAll(bytes: Uint8Array, cut: (rest: Uint8Array) => number): number[] {
  const sizes: number[] = []
  for (let rest = bytes; rest.length > 0; rest = rest.subarray(sizes.at(-1)!)) sizes.push(cut(rest))
  return sizes
}

function split(bytes: Uint8Array, writes: Iterable<number>, chunker?: Chunker): Uint8Array[] {
  const splitter = new ChunkSplitter(chunker)
  const chunks: Uint8Array[] = []
  let rest = bytes
  for (const size of writes) {
    chunks.push(...splitter.push(rest.subarray(0, size)))
    rest = rest.subarray(size)
  }
  chunks.push(...splitter.push(rest), ...splitter.finish())
  return chunks
}

function input(name: string): Uint8Array {
  if (name === 'ZEROES_1MiB') return new Uint8Array(1 << 20)
  const [, size] = /^SHA256_CTR_(\d+)$/.exec(name) ?? []
  if (size === undefined) return vectorBlob(name)
  const parts: Uint8Array[] = []
  for (let i = 0; i * 32 < Number(size); i++) {
    const counter = Buffer.alloc(8)
    counter.writeBigUInt64LE(BigInt(i))
    parts.push(createHash('sha256').update(counter).digest())
  }
  return concatBytes(parts).subarray(0, Number(size))
}

interface CdcCase {
  readonly input: string
  readonly avg: number
  readonly input_blake3_hex: string
  readonly chunks: readonly { offset: number; size: number; blake3_hex: string }[]
}

describe('the vectors', () => {
  for (const vector of vectors.fastcdc.cases as CdcCase[]) {
    it(`${vector.input} with an average of ${vector.avg}`, () => {
      const bytes = input(vector.input)
      expect(Digest.of(bytes).hex).toBe(vector.input_blake3_hex)
      const chunks = split(bytes, [], new Chunker(vector.avg))
      let offset = 0
      const found = chunks.map((chunk) => {
        offset += chunk.length
        return { offset: offset - chunk.length, size: chunk.length, blake3_hex: Digest.of(chunk).hex }
      })
      expect(found).toEqual(vector.chunks)
    })
  }

  it('have the gear table that the reference here computes', () => {
    const { gear_table } = vectors.fastcdc
    for (const byte of [0, 1, 255])
      expect(gear(byte).toString(16).padStart(16, '0')).toBe(gear_table[`gear_${byte}_hex`])
  })
})

test('cuts where the 64-bit loop of the specification cuts, for every average', () => {
  for (let bits = 6; bits <= 14; bits++) {
    const bytes = pseudoRandom(150_000 + bits, bits)
    const chunker = new Chunker(2 ** bits)
    expect(cutAll(bytes, (rest) => chunker.cut(rest))).toEqual(
      cutAll(bytes, (rest) => referenceCut(rest.subarray(0, 2 ** bits * 2), 2 ** bits)),
    )
  }
})

test('cuts contents of few distinct bytes where the specification does', () => {
  const few = fc.array(fc.constantFrom(0, 1, 65, 255), { minLength: 1, maxLength: 3000 })
  const any = fc.uint8Array({ minLength: 1, maxLength: 3000 })
  const chunker = new Chunker(256)
  fc.assert(
    fc.property(fc.oneof(few.map(Uint8Array.from.bind(Uint8Array)), any), (bytes) => {
      expect(chunker.cut(bytes)).toBe(referenceCut(bytes, 256))
    }),
    { numRuns: 500 },
  )
})

test('cuts the same however the blob is written', () => {
  const bytes = pseudoRandom(20_000, 99)
  const chunker = new Chunker(1024)
  const expected = cutAll(bytes, (rest) => chunker.cut(rest))
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 40 }), (writes) => {
      const chunks = split(bytes, writes, chunker)
      expect(chunks.map((chunk) => chunk.length)).toEqual(expected)
      expect(Buffer.compare(concatBytes(chunks), bytes)).toBe(0)
    }),
  )
})

test('cuts the same when it is written byte by byte', () => {
  const bytes = pseudoRandom(20_000, 98)
  const chunker = new Chunker(1024)
  const chunks = split(bytes, Array(bytes.length).fill(1), chunker)
  expect(chunks.map((chunk) => chunk.length)).toEqual(cutAll(bytes, (rest) => chunker.cut(rest)))
  expect(Buffer.compare(concatBytes(chunks), bytes)).toBe(0)
})

test('keeps every chunk but the last between half and twice the average', () => {
  const chunks = split(pseudoRandom(400_000, 97), [], new Chunker(4096))
  for (const { length } of chunks.slice(0, -1)) {
    expect(length).toBeGreaterThanOrEqual(2048)
    expect(length).toBeLessThanOrEqual(8192)
  }
})

test('yields no chunk for an empty blob', () => {
  expect(split(new Uint8Array(0), [0, 0])).toEqual([])
})

test('copies nothing of a blob that is written at once, but its end', () => {
  const bytes = pseudoRandom(100_000, 96)
  const chunks = split(bytes, [bytes.length], new Chunker(1024))
  const views = chunks.filter((chunk) => chunk.buffer === bytes.buffer)
  expect(concatBytes(views).length).toBeGreaterThan(bytes.length - 2048)
})

test('refuses an average for which there is no agreed mask', () => {
  for (const avg of [0, -8, 1, 16, 1000, 300_000, 2 ** 25, Number.NaN])
    expect(() => new Chunker(avg)).toThrow(RangeError)
})
