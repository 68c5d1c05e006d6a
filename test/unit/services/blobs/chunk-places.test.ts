import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { LocalChunks } from '../../../../src/services/blobs/local-chunks.ts'
import { BufferRooms } from '../../../../src/support/buffer-rooms.ts'
import { concatBytes, utf8 } from '../../../../src/support/bytes.ts'
import { storedFrame } from '../../../../src/support/zstd-stored.ts'
import { rawName, TestPacks } from '../../../support/chunk-folders.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

let dir: Awaited<ReturnType<typeof tempDir>>

beforeEach(async () => {
  dir = await tempDir()
})

afterEach(() => dir[Symbol.asyncDispose]())

const ROOMS = new BufferRooms({ bytes: 1, busyMax: 0, idleMax: 0 })
const TEXT = utf8('a chunk of text, '.repeat(300))
const NOISE = pseudoRandom(300_000, 1)
const sized = (contents: Uint8Array) => ({ digest: Digest.of(contents), size: contents.length })

describe('chunks in packs', () => {
  let packs: TestPacks
  let chunks: LocalChunks

  beforeEach(() => {
    packs = new TestPacks(join(dir.path, 'packs'))
    chunks = LocalChunks.of(packs.source)!
  })

  const put = (contents: Uint8Array, pack?: number) =>
    packs.put(Digest.of(contents), zstdCompressSync(contents), pack)

  test('are read out of more packs than stay open, again and again', async () => {
    const contents = Array.from({ length: 300 }, (_, i) => pseudoRandom(1 + i * 97, i))
    for (const [i, bytes] of contents.entries()) put(bytes, i % 150)
    for (const stride of [1, 7]) {
      const order = contents.map((_, i) => contents[(i * stride) % contents.length]!)
      const found = await chunks.read(order.map(sized), ROOMS)
      for (const [i, bytes] of order.entries()) expect(Buffer.compare(found[i]!, bytes)).toBe(0)
    }
    for (const bytes of contents) {
      const now = chunks.readVerifiedNow(sized(bytes))
      if (now) expect(Buffer.compare(now, bytes)).toBe(0)
    }
  })

  test('may be several frames, and as large as noise makes them', async () => {
    const halves = [TEXT.subarray(0, 1_000), TEXT.subarray(1_000)].map((half) => zstdCompressSync(half))
    packs.put(Digest.of(TEXT), concatBytes(halves))
    put(NOISE)
    const [text, noise] = await chunks.read([sized(TEXT), sized(NOISE)], ROOMS)
    expect(Buffer.compare(text!, TEXT)).toBe(0)
    expect(Buffer.compare(noise!, NOISE)).toBe(0)
  })

  test('of noise are read into their places, of every size, and only where it is what lies there', async () => {
    const sizes = [65_536, 65_537, 131_071, 131_072, 131_073, 262_144, 400_000, 2 ** 21, 2 ** 21 + 1]
    const noise = sizes.map((size) => pseudoRandom(size, size))
    for (const bytes of noise) packs.put(Digest.of(bytes), storedFrame(bytes))
    const found = await chunks.read(noise.map(sized), ROOMS)
    for (const [i, bytes] of noise.entries()) expect(Buffer.compare(found[i]!, bytes), `${sizes[i]}`).toBe(0)
    // As long as a frame of noise, and none: a block that says that it is another one, or the frame that it has another size.
    for (const at of [4, 5, 9, 11, 12 + 131_072]) {
      const frame = Buffer.from(storedFrame(NOISE))
      frame[at]! ^= 4
      packs.put(Digest.of(NOISE), frame, at)
      expect(await chunks.read([sized(NOISE)], ROOMS), `byte ${at}`).toEqual([undefined])
    }
  })

  test('are read on the spot where the kernel has the pack in memory', () => {
    put(TEXT)
    expect(Buffer.compare(chunks.readVerifiedNow(sized(TEXT))!, TEXT)).toBe(0)
    expect(chunks.readVerifiedNow(sized(NOISE))).toBeUndefined()
  })

  test('are found in a pack that came later, and in one that stays open while its name is gone', async () => {
    expect(await chunks.readVerified(sized(TEXT))).toBeUndefined()
    put(TEXT)
    expect(await chunks.readVerified(sized(TEXT))).toBeDefined()
    rmSync(packs.pathOf(1))
    expect(await chunks.readVerified(sized(TEXT))).toBeDefined()
  })

  test.each<[string, (digest: Digest) => void]>([
    ['is in no pack', (digest) => packs.tell(digest, { stored: 0 })],
    ['is another one', (digest) => packs.tell(digest, packs.placeOf(Digest.of(NOISE)))],
    ['is in a pack that does not exist', (digest) => packs.tell(digest, { pack: 0xffffffff })],
    ['begins behind the end', (digest) => packs.tell(digest, { offset: 10_000_000 })],
    ['begins where no file can be', (digest) => packs.tell(digest, { offset: 2 ** 63 })],
    ['begins a byte late', (digest) => packs.tell(digest, shifted(digest, 1))],
    ['begins a byte early', (digest) => packs.tell(digest, shifted(digest, -1))],
    ['is a byte shorter', (digest) => packs.tell(digest, longer(digest, -1))],
    ['is a byte longer', (digest) => packs.tell(digest, longer(digest, 1))],
    ['is said to be longer than it could be', (digest) => packs.tell(digest, { stored: 0xffffffff })],
    ['is cut off with its pack', () => truncateSync(packs.pathOf(2), 20)],
    ['is in what is no file', () => replace(packs.pathOf(2), (path) => mkdirSync(path))],
    ['is in a link', () => replace(packs.pathOf(2), (path) => symlinkSync(packs.pathOf(1), path))],
  ])('gives nothing in the place of one that %s', async (_, spoil) => {
    put(NOISE, 1)
    put(TEXT, 2)
    packs.put(Digest.of(utf8('behind')), utf8('behind'), 2)
    spoil(Digest.of(TEXT))
    expect(await chunks.readVerified(sized(TEXT))).toBeUndefined()
    expect(chunks.readVerifiedNow(sized(TEXT))).toBeUndefined()
    expect(Buffer.compare((await chunks.readVerified(sized(NOISE)))!, NOISE)).toBe(0)
  })

  const shifted = (digest: Digest, by: number) => ({ offset: packs.placeOf(digest).offset + by })
  const longer = (digest: Digest, by: number) => ({ stored: packs.placeOf(digest).stored + by })

  function replace(path: string, make: (path: string) => void): void {
    rmSync(path)
    make(path)
  }

  test('compares digests only where it is to: the place of another chunk of the same size', async () => {
    const other = new Uint8Array(TEXT).reverse()
    put(other)
    packs.tell(Digest.of(TEXT), packs.placeOf(Digest.of(other)))
    expect(Buffer.compare((await chunks.read([sized(TEXT)], ROOMS))[0]!, other)).toBe(0)
    expect(await chunks.readVerified(sized(TEXT))).toBeUndefined()
    expect(chunks.readVerifiedNow(sized(TEXT))).toBeUndefined()
  })
})

describe('raw blobs', () => {
  let chunks: LocalChunks

  beforeEach(() => {
    chunks = LocalChunks.of({ kind: 'raw', folder: dir.path })!
  })

  function put(contents: Uint8Array, file = contents): void {
    const path = join(dir.path, rawName(Digest.of(contents)))
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, file)
  }

  test('are read as a whole', async () => {
    put(TEXT)
    put(NOISE)
    const [text, noise] = await chunks.read([sized(TEXT), sized(NOISE)], ROOMS)
    expect([Buffer.compare(text!, TEXT), Buffer.compare(noise!, NOISE)]).toEqual([0, 0])
    expect(Buffer.compare(chunks.readVerifiedNow(sized(TEXT))!, TEXT)).toBe(0)
  })

  test.each<[string, Uint8Array | undefined]>([
    ['is not there', undefined],
    ['is cut', TEXT.subarray(0, -1)],
    ['is empty', new Uint8Array(0)],
    ['is another one', new Uint8Array(TEXT).reverse()],
  ])('gives nothing in the place of one that %s', async (_, file) => {
    if (file) put(TEXT, file)
    expect(await chunks.readVerified(sized(TEXT))).toBeUndefined()
    expect(chunks.readVerifiedNow(sized(TEXT))).toBeUndefined()
  })
})
