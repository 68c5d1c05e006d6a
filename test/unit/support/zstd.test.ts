import { randomBytes } from 'node:crypto'
import { constants, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
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
