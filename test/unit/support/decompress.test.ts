import { execFileSync } from 'node:child_process'
import { brotliCompressSync, constants, crc32, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import {
  COMPRESSIONS,
  type Compression,
  decompressed,
  detectCompression,
} from '../../../src/support/decompress.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { DECOMPRESSION_RATIO_MAX, ZSTD_WINDOW_LOG_MAX } from '../../../src/support/limits.ts'
import { collect, inPieces } from '../../support/collect.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'

type Real = Exclude<Compression, 'none'>

const MAX_BUFFER = { maxBuffer: 2 ** 30 }
const COMPRESS: Record<Real, (bytes: Uint8Array) => Buffer> = {
  xz: (bytes) => execFileSync('xz', ['-c'], { input: bytes, ...MAX_BUFFER }),
  bzip2: (bytes) => execFileSync('bzip2', ['-c'], { input: bytes, ...MAX_BUFFER }),
  gzip: (bytes) => gzipSync(bytes),
  zstd: (bytes) => zstdCompressSync(bytes),
  br: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
}
const REAL = COMPRESSIONS.filter((name) => name !== 'none')

async function decompress(
  bytes: Uint8Array,
  compression: Compression,
  declaredBytes?: number,
  pieces = 10_000,
) {
  return Buffer.concat(await collect(decompressed(inPieces(bytes, pieces), compression, { declaredBytes })))
}

const fault = (bytes: Uint8Array, compression: Compression, declaredBytes?: number) =>
  decompress(bytes, compression, declaredBytes).then(
    () => expect.unreachable('it was accepted'),
    (error) => error as StoreError,
  )

const plain = Buffer.concat([Buffer.alloc(300_000, 'compressible '), pseudoRandom(300_000, 3)])

describe.each(REAL)('%s', (compression) => {
  const packed = COMPRESS[compression](plain)

  test.each([1, 7, 65_536, 10_000_000])('round trip, in pieces of %d', async (length) => {
    const input = length < 10 ? COMPRESS[compression](plain.subarray(0, 5_000)) : packed
    const want = length < 10 ? plain.subarray(0, 5_000) : plain
    expect((await decompress(input, compression, undefined, length)).equals(want)).toBe(true)
  })

  test('nothing, compressed', async () => {
    expect((await decompress(COMPRESS[compression](Buffer.alloc(0)), compression)).length).toBe(0)
  })

  test.each([0, 1, 5, 100, 'half', -1])('truncated to %s bytes is an error', async (cut) => {
    const length = cut === 'half' ? packed.length >> 1 : Number(cut) < 0 ? packed.length - 1 : Number(cut)
    expect(await fault(packed.subarray(0, length), compression)).toMatchObject({ code: 'invalid-argument' })
  })

  test.each([[Buffer.from('x')], [Buffer.alloc(1000, 'garbage')]])(
    'trailing garbage is an error',
    async (garbage) => {
      const error = await fault(Buffer.concat([packed, garbage]), compression)
      expect(error).toMatchObject({ code: 'invalid-argument', message: expect.stringContaining(compression) })
    },
  )

  test('garbage is an error', async () => {
    expect(await fault(pseudoRandom(100_000, 9), compression)).toMatchObject({ code: 'invalid-argument' })
  })

  test('exactly what was declared is fine, one byte more is not', async () => {
    expect((await decompress(packed, compression, plain.length)).length).toBe(plain.length)
    const error = await fault(packed, compression, plain.length - 1)
    expect(error).toMatchObject({ code: 'invalid-argument', message: expect.stringContaining('declared') })
  })

  test('an error of the source comes out as it is', async () => {
    const broken = new StoreError('unavailable', 'the line is down')
    async function* source() {
      yield packed.subarray(0, 1000)
      throw broken
    }
    await expect(collect(decompressed(source(), compression))).rejects.toBe(broken)
  })

  test('leaving early ends the source', async () => {
    let ended = false
    async function* endless() {
      try {
        yield* inPieces(packed, 10_000)
        for (;;) yield packed
      } finally {
        ended = true
      }
    }
    for await (const piece of decompressed(endless(), compression)) {
      expect(piece.length).toBeGreaterThan(0)
      break
    }
    expect(ended).toBe(true)
  })

  test('ends on a signal', async () => {
    const controller = new AbortController()
    async function* hanging() {
      yield packed.subarray(0, packed.length - 10)
      controller.abort(new StoreError('cancelled', 'enough'))
      throw controller.signal.reason
    }
    const all = collect(decompressed(hanging(), compression, { signal: controller.signal }))
    await expect(all).rejects.toMatchObject({ code: 'cancelled' })
  })
})

describe.each(['xz', 'bzip2', 'gzip', 'zstd'] as const)(
  '%s: members one after the other are one',
  (compression) => {
    test.each([1, 1_000, 10_000_000])('in pieces of %d', async (length) => {
      const first = length === 1 ? plain.subarray(0, 2_000) : plain
      const members = [first, plain.subarray(0, 10), plain.subarray(0, 0), plain.subarray(0, 999)]
      const packed = Buffer.concat(members.map((member) => COMPRESS[compression](member)))
      expect((await decompress(packed, compression, undefined, length)).equals(Buffer.concat(members))).toBe(
        true,
      )
    })

    test.each([1, 10_000_000])('a truncated last one is an error, in pieces of %d', async (length) => {
      const member = COMPRESS[compression](plain.subarray(0, 999))
      const packed = Buffer.concat([member, member.subarray(0, -2)])
      const all = decompress(packed, compression, undefined, length)
      await expect(all).rejects.toMatchObject({ code: 'invalid-argument' })
    })
  },
)

test('zstd: skippable frames, RLE blocks and checksums are no obstacle', async () => {
  const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 0x28, 0xb5, 0x2f])
  const zeros = Buffer.alloc(2_000_000)
  const small = plain.subarray(298_000, 302_000)
  const checked = zstdCompressSync(small, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
  const packed = Buffer.concat([skippable, zstdCompressSync(zeros), checked, skippable, checked])
  for (const length of [1, 5, 10_000_000])
    expect(
      (await decompress(packed, 'zstd', 4_000_000, length)).equals(Buffer.concat([zeros, small, small])),
    ).toBe(true)
})

test.each(['xz', 'bzip2', 'gzip', 'zstd'] as const)('%s is known by its first bytes', (compression) => {
  expect(detectCompression(COMPRESS[compression](plain))).toBe(compression)
})

test('what has no mark is not compressed', () => {
  expect(detectCompression(plain)).toBe('none')
  expect(detectCompression(Buffer.from([0xfd, 0x37]))).toBe('none')
  expect(detectCompression(Buffer.alloc(0))).toBe('none')
})

test('none: passed on, and bounded by what was declared', async () => {
  expect((await decompress(plain, 'none', plain.length)).equals(plain)).toBe(true)
  expect(await fault(plain, 'none', plain.length - 1)).toMatchObject({ code: 'invalid-argument' })
})

describe('bombs', () => {
  const BOMB_BYTES = 128 * 1024 * 1024
  const bombs = new Map<Compression, Buffer>()
  const bomb = (compression: Real) => {
    const packed = bombs.get(compression) ?? BOMBS[compression]()
    bombs.set(compression, packed)
    return packed
  }
  const zeros = (command: string) =>
    execFileSync('sh', ['-c', `head -c ${BOMB_BYTES} /dev/zero | ${command}`], MAX_BUFFER)
  const BOMBS: Record<Real, () => Buffer> = {
    xz: () => zeros('xz -c'),
    bzip2: () => zeros('bzip2 -c'),
    gzip: () => zeros('gzip -9c'),
    zstd: () => zstdCompressSync(Buffer.alloc(BOMB_BYTES)),
    br: () =>
      brotliCompressSync(Buffer.alloc(BOMB_BYTES), { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
  }

  test.each(REAL)('%s: cut when the ratio is exceeded', async (compression) => {
    const packed = bomb(compression)
    expect(packed.length * DECOMPRESSION_RATIO_MAX).toBeLessThan(BOMB_BYTES)
    let bytesOut = 0
    const read = async () => {
      for await (const piece of decompressed(inPieces(packed, 1000), compression)) bytesOut += piece.length
    }
    await expect(read()).rejects.toMatchObject({
      code: 'exhausted',
      message: expect.stringContaining('bomb'),
    })
    expect(bytesOut).toBeLessThan(BOMB_BYTES)
  })

  test.each(REAL)('%s: cut at what was declared', async (compression) => {
    let bytesOut = 0
    const read = async () => {
      const options = { declaredBytes: 5_000_000 }
      for await (const piece of decompressed(inPieces(bomb(compression), 1000), compression, options))
        bytesOut += piece.length
    }
    await expect(read()).rejects.toMatchObject({ code: 'invalid-argument' })
    expect(bytesOut).toBeLessThanOrEqual(5_000_000)
  })

  test.each(REAL)('%s: zeros that were declared are no bomb', async (compression) => {
    let bytesOut = 0
    const options = { declaredBytes: BigInt(BOMB_BYTES) }
    for await (const piece of decompressed(inPieces(bomb(compression), 1000), compression, options))
      bytesOut += piece.length
    expect(bytesOut).toBe(BOMB_BYTES)
  })

  test.each([
    [ZSTD_WINDOW_LOG_MAX, 'fine'],
    [ZSTD_WINDOW_LOG_MAX + 1, 'refused'],
    [31, 'refused'],
  ])('a zstd window of 2^%d bytes is %s', async (log, verdict) => {
    // Frame header without a size, then one last raw block of one byte.
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 0x09, 0, 0, 0x41])
    if (verdict === 'fine') expect((await decompress(frame, 'zstd')).toString()).toBe('A')
    else expect(await fault(frame, 'zstd')).toMatchObject({ code: 'invalid-argument' })
  })

  test('an xz dictionary of 4 GiB is refused', async () => {
    const packed = COMPRESS.xz(plain)
    const header = packed.subarray(12, 12 + (packed[12]! + 1) * 4)
    const dictionary = header.indexOf(Buffer.from([0x21, 0x01])) + 2
    header[dictionary] = 40
    header.writeUInt32LE(crc32(header.subarray(0, -4)), header.length - 4)
    const error = await fault(packed, 'xz')
    expect(error).toMatchObject({ code: 'invalid-argument', message: expect.stringMatching(/memory/i) })
  })
})

test('without the program that is needed, its package is named', async () => {
  const path = process.env['PATH']
  process.env['PATH'] = '/nowhere'
  try {
    for (const [compression, debianPackage] of [
      ['xz', 'xz-utils'],
      ['bzip2', 'bzip2'],
    ] as const)
      expect(await fault(plain, compression)).toMatchObject({
        code: 'unimplemented',
        message: expect.stringContaining(`install the package ${debianPackage}`),
      })
  } finally {
    process.env['PATH'] = path
  }
})
