import { execFileSync } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { encodeChunkList } from '../../../../src/services/blobs/chunk-list.ts'
import type { ChunkMeta } from '../../../../src/services/blobs/interface.ts'
import { ChunkSteps, LocalChunks } from '../../../../src/services/blobs/local-chunks.ts'
import { blobKey, CHUNKS_PREFIX, chunkKey } from '../../../../src/services/blobs/object-keys.ts'
import { objectStoreBlobService } from '../../../../src/services/blobs/object-store.ts'
import { readBlobsInto } from '../../../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { BufferRooms } from '../../../../src/support/buffer-rooms.ts'
import { concatBytes, utf8 } from '../../../../src/support/bytes.ts'
import { CHUNK_BYTES_MAX } from '../../../../src/support/limits.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

let dir: Awaited<ReturnType<typeof tempDir>>
let chunks: LocalChunks

beforeEach(async () => {
  dir = await tempDir()
  chunks = LocalChunks.at(dir.path)!
})

afterEach(() => dir[Symbol.asyncDispose]())

const pathOf = (digest: Digest) => join(dir.path, chunkKey(digest))

/** Puts `file` where the chunk `contents` belongs. */
async function put(contents: Uint8Array, file: Uint8Array = zstdCompressSync(contents)) {
  const digest = Digest.of(contents)
  await mkdir(dirname(pathOf(digest)), { recursive: true })
  await writeFile(pathOf(digest), file)
  return { digest, size: contents.length }
}

const ROOMS = new BufferRooms({ bytes: 1, busyMax: 0, idleMax: 0 })
const TEXT = utf8('a chunk of text, '.repeat(300))
const NOISE = pseudoRandom(300_000, 1)

test('reads what is there, whatever its size and order', async () => {
  const contents = Array.from({ length: 200 }, (_, i) => pseudoRandom(1 + i * i, i))
  const wanted = []
  for (const bytes of contents) wanted.push(await put(bytes))
  const found = await chunks.read(wanted, ROOMS)
  for (const [i, bytes] of contents.entries()) expect(Buffer.compare(found[i]!, bytes)).toBe(0)
  expect(await chunks.read([], ROOMS)).toEqual([])
})

test('reads several frames, and frames that do not tell their size', async () => {
  const unsized = { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } }
  const halves = [TEXT.subarray(0, 1_000), TEXT.subarray(1_000)].map((half) => zstdCompressSync(half))
  const wanted = [await put(TEXT, concatBytes(halves)), await put(NOISE, zstdCompressSync(NOISE, unsized))]
  const [text, noise] = await chunks.read(wanted, ROOMS)
  expect(Buffer.compare(text!, TEXT)).toBe(0)
  expect(Buffer.compare(noise!, NOISE)).toBe(0)
})

const frame = zstdCompressSync(TEXT)
const flipped = new Uint8Array(frame)
flipped[frame.length >> 1]! ^= 0x55

test.each<[string, Uint8Array]>([
  ['empty', new Uint8Array(0)],
  ['no zstd frame', utf8('this is none')],
  ['cut', frame.subarray(0, -1)],
  ['longer than a frame', concatBytes([frame, utf8('x')])],
  ['damaged in its header', concatBytes([frame.subarray(0, 5), Uint8Array.of(255, 255), frame.subarray(7)])],
  ['of too few bytes', zstdCompressSync(TEXT.subarray(1))],
  ['of too many bytes', zstdCompressSync(concatBytes([TEXT, TEXT]))],
  ['a bomb', zstdCompressSync(new Uint8Array(64 * 1024 * 1024))],
  ['much larger than it could be', concatBytes([frame, ...Array(50).fill(frame)])],
])('leaves out a file that is %s, and gives what else was asked for', async (_, file) => {
  const good = await put(NOISE)
  const [before, bad, after] = await chunks.read([good, await put(TEXT, file), good], ROOMS)
  expect(bad).toBeUndefined()
  expect([before, after].map((bytes) => Buffer.compare(bytes!, NOISE))).toEqual([0, 0])
})

test('compares no digests when it reads the chunks of a list, which the verifying service does with the whole', async () => {
  const other = new Uint8Array(TEXT).reverse()
  const wanted = [await put(TEXT, zstdCompressSync(other)), await put(NOISE)]
  expect(Buffer.compare((await chunks.read(wanted, ROOMS))[0]!, other)).toBe(0)
})

test('gives one chunk by itself compared with its digest, a small one on the spot as well', async () => {
  const [text, noise] = [await put(TEXT), await put(NOISE)]
  expect(Buffer.compare((await chunks.readVerified(text))!, TEXT)).toBe(0)
  expect(Buffer.compare((await chunks.readVerified(noise))!, NOISE)).toBe(0)
  expect(Buffer.compare(chunks.readVerifiedNow(text)!, TEXT)).toBe(0)
  expect(chunks.readVerifiedNow(noise)).toBeUndefined()
})

test.each<[string, Uint8Array | undefined]>([
  ['is not there', undefined],
  ['is cut', frame.subarray(0, -1)],
  ['has too few bytes', zstdCompressSync(TEXT.subarray(1))],
  ['has too many bytes', zstdCompressSync(concatBytes([TEXT, TEXT]))],
  ['is another one of the same size', zstdCompressSync(new Uint8Array(TEXT).reverse())],
])('gives nothing in the place of a chunk that %s', async (_, file) => {
  const wanted = file ? await put(TEXT, file) : { digest: Digest.of(TEXT), size: TEXT.length }
  expect(await chunks.readVerified(wanted)).toBeUndefined()
  expect(chunks.readVerifiedNow(wanted)).toBeUndefined()
})

test('leaves a large chunk in the page cache, but for those who keep its contents above', async ({
  skip,
}) => {
  const wanted = await put(NOISE)
  const file = pathOf(wanted.digest)
  const cached = () => Number(execFileSync('fincore', ['-b', '-n', '-o', 'RES', file], { encoding: 'utf8' }))
  const drop = () => execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none'])
  execFileSync('sync', [file])
  drop()
  if (cached() > 0) skip('this file system keeps its files in memory')
  // It is a hint, which the kernel may not heed at once while it is busy; and it keeps a page of which only a part was named.
  const afterReading = async () => {
    await chunks.readVerified(wanted)
    return cached()
  }
  await expect.poll(afterReading).toBeLessThanOrEqual(4_096)
  await chunks.read([wanted], ROOMS)
  expect(cached()).toBeGreaterThan(NOISE.length)
})

/** A false byte is in the first half, in the second, and in the one before the last. */
test.each([0, 1, TEXT.length >> 1, TEXT.length - 1])(
  'compares what it puts into places: byte %d is false',
  async (at) => {
    const other = new Uint8Array(TEXT)
    other[at]! ^= 1
    const good = await put(NOISE)
    const bad = await put(TEXT, zstdCompressSync(other))
    const service = objectStoreBlobService(await openFileObjectStore(dir.path), undefined, chunks)
    const target = new Uint8Array(2 * NOISE.length + TEXT.length)
    const places = [
      { ...good, offset: 0 },
      { ...bad, offset: NOISE.length },
      { ...good, offset: NOISE.length + TEXT.length },
    ]
    expect(await service.readInto!(target, places)).toEqual([places[1]])
    for (const { offset } of [places[0]!, places[2]!])
      expect(Buffer.compare(target.subarray(offset, offset + NOISE.length), NOISE)).toBe(0)
    const reading = readBlobsInto(verifyingBlobService(service, 'a test'), target, places)
    await expect(reading).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(`${bad.digest}`),
    })
  },
)

test('compares a blob of several chunks as a whole: chunks that are right, of another blob, are not it', async () => {
  const halves = [NOISE.subarray(0, 100_000), NOISE.subarray(100_000)]
  const metas = []
  for (const half of halves) metas.push(await put(half))
  const list = async (digest: Digest, chunks: readonly ChunkMeta[]) => {
    const path = join(dir.path, blobKey(digest))
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, encodeChunkList(chunks))
  }
  const right = { digest: Digest.of(NOISE), size: NOISE.length, offset: 0 }
  const swapped = { digest: Digest.of(TEXT), size: NOISE.length, offset: NOISE.length }
  await list(right.digest, metas)
  await list(swapped.digest, metas.toReversed())
  const service = objectStoreBlobService(await openFileObjectStore(dir.path), undefined, chunks)
  const target = new Uint8Array(2 * NOISE.length)
  expect(await service.readInto!(target, [right, swapped])).toEqual([swapped])
  expect(Buffer.compare(target.subarray(0, NOISE.length), NOISE)).toBe(0)
})

test('hashes messages of every length right, as the other implementation', async () => {
  const lengths = [
    64, 65, 1_023, 1_024, 1_025, 2_048, 2_049, 3_072, 3_073, 8_192, 8_193, 9_217, 16_384, 16_385, 17_409,
  ]
  const long = [31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 256, 257, 1_000].flatMap((kib) => [
    kib * 1_024 - 1,
    kib * 1_024,
    kib * 1_024 + 1,
  ])
  const messages = [...lengths, ...long].map((length) => pseudoRandom(length, length))
  const target = concatBytes(messages)
  const steps = new ChunkSteps(2 * messages.length)
  let offset = 0
  const [right, wrong]: number[][] = [[], []]
  for (const message of messages) {
    const digest = Digest.of(message)
    right!.push(steps.compare(digest, offset, message.length))
    wrong!.push(steps.compare(digest, offset, message.length - 1))
    offset += message.length
  }
  await mkdir(join(dir.path, CHUNKS_PREFIX), { recursive: true })
  await chunks.run(steps, target)
  expect(right!.filter((step) => !steps.isDone(step))).toEqual([])
  expect(wrong!.filter((step) => steps.isDone(step))).toEqual([])
})

test('hashes small messages side by side, each as if it were alone', async () => {
  const lengths = Array.from({ length: 700 }, (_, i) => (i * 7_919) % (i % 5 === 0 ? 20_000 : 1_100))
  const messages = lengths.map((length, i) => pseudoRandom(length, i))
  const steps = new ChunkSteps(messages.length)
  let offset = 0
  for (const [i, message] of messages.entries()) {
    const isWrong = i % 10 === 3
    steps.compare(Digest.of(isWrong ? TEXT : message), offset, message.length)
    offset += message.length
  }
  await mkdir(join(dir.path, CHUNKS_PREFIX), { recursive: true })
  await chunks.run(steps, concatBytes(messages))
  for (const i of messages.keys()) expect(steps.isDone(i)).toBe(i % 10 !== 3)
})

test('does nothing at places outside the buffer', async () => {
  const { digest } = await put(TEXT)
  for (const [offset, size] of [
    [1, TEXT.length],
    [TEXT.length + 1, 0],
    [2 ** 32 - 1, 2 ** 32 - 1],
    [0, 2 ** 32 - 1],
  ] as const) {
    const steps = new ChunkSteps(1)
    const step = steps.readAndCompare(digest, offset, size)
    await chunks.run(steps, new Uint8Array(TEXT.length))
    expect(steps.isDone(step)).toBe(false)
  }
})

test('leaves out what is no file, and never waits for it', async () => {
  const absent = { digest: Digest.of(utf8('absent')), size: 6 }
  const wanted = ['pipe', 'folder', 'link'].map((name) => ({
    digest: Digest.of(utf8(name)),
    size: name.length,
  }))
  const [pipe, folder, link] = wanted.map(({ digest }) => pathOf(digest))
  await mkdir(folder!, { recursive: true })
  for (const path of [pipe!, link!]) await mkdir(dirname(path), { recursive: true })
  execFileSync('mkfifo', [pipe!])
  await put(TEXT)
  await symlink(pathOf(Digest.of(TEXT)), link!)
  expect(await chunks.read([...wanted, absent], ROOMS)).toEqual([undefined, undefined, undefined, undefined])
  expect(wanted.map((chunk) => chunks.readVerifiedNow(chunk))).toEqual([undefined, undefined, undefined])
})

test('takes sizes from strangers', async () => {
  const { digest } = await put(TEXT)
  const sizes = [
    0,
    1,
    TEXT.length - 1,
    TEXT.length + 1,
    CHUNK_BYTES_MAX + 1,
    2 ** 32 + TEXT.length,
    2 ** 53 - 1,
  ]
  expect(
    await chunks.read(
      sizes.map((size) => ({ digest, size })),
      ROOMS,
    ),
  ).toEqual(sizes.map(() => undefined))
  for (const size of sizes) {
    expect(await chunks.readVerified({ digest, size })).toBeUndefined()
    expect(chunks.readVerifiedNow({ digest, size })).toBeUndefined()
  }
})
