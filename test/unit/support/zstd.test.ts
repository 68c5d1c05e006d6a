import { randomBytes } from 'node:crypto'
import { constants, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { nativeCodec } from '../../../src/support/native-codec.ts'
import { compress, decompress } from '../../../src/support/zstd.ts'
import { looksLikeNoise, storedFrame } from '../../../src/support/zstd-stored.ts'

const BLOCK = 128 * 1024
const text = Buffer.from(
  'the quick brown fox jumps over the lazy dog, again and again and again\n'.repeat(4_000),
)

describe('frames of raw blocks', () => {
  test.each([0, 1, 255, 256, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 512 * 1024 + 7])(
    '%i bytes are read by zstd, and hold what their header says',
    async (size) => {
      const bytes = randomBytes(size)
      const frame = storedFrame(bytes)
      expect(Buffer.compare(zstdDecompressSync(frame), bytes)).toBe(0)
      expect(Buffer.compare(await decompress(frame, Math.max(1, size), 'a test'), bytes)).toBe(0)
    },
  )

  test('are cut like any other frame when they are broken', async () => {
    const frame = storedFrame(randomBytes(BLOCK + 1))
    await expect(decompress(frame.subarray(0, -1), 2 * BLOCK, 'a test')).rejects.toMatchObject({
      code: 'corrupt',
    })
  })
})

describe('what looks like noise', () => {
  const noise = randomBytes(256 * 1024)
  const level = { params: { [constants.ZSTD_c_compressionLevel]: 19 } }

  test.each<[string, Uint8Array, boolean]>([
    ['random bytes', noise, true],
    ['a compressed file', zstdCompressSync(Buffer.concat([noise, text]), level).subarray(0, 64 * 1024), true],
    ['text', text, false],
    ['zeros', new Uint8Array(256 * 1024), false],
    ['base64', Buffer.from(noise.toString('base64')), false],
    ['text behind noise', Buffer.concat([noise, text]), false],
    ['bytes that count up slowly', Uint8Array.from({ length: 65_536 }, (_, i) => i >> 9), false],
    ['hardly any bytes', randomBytes(1_000), false],
    [
      'numbers of 32 bits',
      new Uint8Array(Uint32Array.from({ length: 65_536 }, (_, i) => i * 7).buffer),
      false,
    ],
  ])('%s', (_, bytes, expected) => {
    expect(looksLikeNoise(bytes)).toBe(expected)
  })
})

test('noise grows by its headers only, and everything else shrinks as zstd shrinks it', async () => {
  const noise = randomBytes(300_000)
  expect((await compress(noise)).length).toBe(300_000 + 9 + 3 * 3)
  expect((await compress(text)).length).toBeLessThan(text.length / 100)
  const gzipped = gzipSync(randomBytes(100_000))
  expect(Buffer.compare(zstdDecompressSync(await compress(gzipped)), gzipped)).toBe(0)
})

/** Without the addon: what node:zlib does. */
const NO_CODEC = null as unknown as undefined

describe.each([
  ['the addon', nativeCodec],
  ['node:zlib', NO_CODEC],
])('small buffers through %s', (_, codec) => {
  const buffers = [
    ...[0, 1, 7, 17, 255, 256, 257, 5_000, 16 * 1024, 16 * 1024 + 1].map((size) => text.subarray(0, size)),
    ...[1, 100, 5_000, 16 * 1024].map((size) => randomBytes(size)),
  ]

  test('can be tested', () => expect(codec).not.toBeUndefined())

  test('become frames that tell their size, which the other reads', async () => {
    for (const bytes of buffers) {
      const frame = await compress(bytes, codec)
      expect(Buffer.compare(zstdDecompressSync(frame), bytes)).toBe(0)
      for (const other of [nativeCodec, NO_CODEC])
        expect(Buffer.compare(await decompress(frame, bytes.length, 'a test', other), bytes)).toBe(0)
      // Single segment, so the size is in the header (RFC 8878 §3.1.1.1.1).
      expect(frame[4]! & 0x20).toBe(0x20)
    }
  })

  test('are given back in memory of their own', async () => {
    const [first, second] = [await compress(buffers[7]!, codec), await compress(buffers[6]!, codec)]
    expect(Buffer.compare(zstdDecompressSync(first), buffers[7]!)).toBe(0)
    expect(Buffer.compare(zstdDecompressSync(second), buffers[6]!)).toBe(0)
  })

  test('are read whatever the writer did', async () => {
    const bytes = text.subarray(0, 5_000)
    const unsized = zstdCompressSync(bytes, { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } })
    const summed = zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
    const several = Buffer.concat(
      [bytes.subarray(0, 9), bytes.subarray(9)].map((part) => zstdCompressSync(part)),
    )
    const withEmpty = Buffer.concat([zstdCompressSync(Buffer.alloc(0)), zstdCompressSync(bytes)])
    for (const frames of [unsized, summed, several, withEmpty])
      expect(Buffer.compare(await decompress(frames, bytes.length, 'a test', codec), bytes)).toBe(0)
  })

  test('are refused when they are damaged or too large, for the same reason', async () => {
    const frame = zstdCompressSync(text.subarray(0, 5_000))
    const lies = Buffer.from(frame)
    lies.writeUInt16LE(100, 5)
    const cases: [Uint8Array, number][] = [
      [frame, 4_999],
      [zstdCompressSync(Buffer.alloc(10_000_000)), 1_000],
      [frame.subarray(0, -1), 5_000],
      [lies, 5_000],
      [Buffer.concat([frame, Buffer.from('x')]), 5_000],
      [Buffer.concat([frame, frame]), 5_000],
      [Buffer.from('no frame'), 5_000],
      [Buffer.from('x'), 5_000],
      [Buffer.alloc(0), 5_000],
    ]
    for (const [frames, maxBytes] of cases) {
      const found = await decompress(frames, maxBytes, 'a test', codec).catch((error) => error)
      const expected = await decompress(frames, maxBytes, 'a test', NO_CODEC).catch((error) => error)
      expect(found).toMatchObject({ code: 'corrupt', message: expected.message })
    }
  })
})

test('noise is read as it was written, on the spot or in the pool, and refused when it is damaged', async () => {
  for (const size of [16 * 1024 + 1, 300_000, 1024 * 1024 - 100, 1024 * 1024, 3 * 1024 * 1024]) {
    const noise = randomBytes(size)
    const frame = await compress(noise)
    const [cut, longer] = [frame.subarray(0, -1), Buffer.concat([frame, Buffer.from('x')])]
    const damaged = Buffer.from(frame)
    damaged[9]! |= 6 // the type of the first block: none that there is
    for (const codec of [nativeCodec, NO_CODEC]) {
      expect(Buffer.compare(await decompress(frame, size, 'a test', codec), noise)).toBe(0)
      for (const bad of [cut, longer, damaged])
        await expect(decompress(bad, size, 'a test', codec)).rejects.toMatchObject({ code: 'corrupt' })
      await expect(decompress(frame, size - 1, 'a test', codec)).rejects.toMatchObject({ code: 'corrupt' })
    }
  }
})
