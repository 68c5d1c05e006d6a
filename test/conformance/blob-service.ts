/** What every BlobService promises (src/services/blobs/interface.ts), one case a promise. */
import assert from 'node:assert/strict'
import { Digest, EMPTY_DIGEST } from '../../src/model/castore/digest.ts'
import { hasMany } from '../../src/services/blobs/has-many.ts'
import type { BlobService, ChunkMeta, PlacedBlob } from '../../src/services/blobs/interface.ts'
import { readBlob, readBlobsInto } from '../../src/services/blobs/read-blob.ts'
import { concatBytes } from '../../src/support/bytes.ts'
import { StoreError } from '../../src/support/errors.ts'
import { CHUNK_BYTES_AVG } from '../../src/support/limits.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { vectorBlob, vectors } from '../support/vectors.ts'
import { type Case, type Make, runCases } from './suite.ts'

export interface BlobServiceProperties {
  /** `content-defined`: larger blobs are offered as the chunks of spec §3.3. `whole`: never as chunks. */
  readonly chunks: 'content-defined' | 'whole'
}

export function blobServiceSuite(
  name: string,
  make: Make<BlobService>,
  properties: BlobServiceProperties,
): void {
  runCases(name, [...blobServiceCases, ...chunkCases[properties.chunks]], make)
}

const KiB = 1024
const BLOB_A = vectorBlob('BLOB_A')
const BLOB_B = vectorBlob('BLOB_B')
const EMPTY = new Uint8Array(0)
const LARGE = pseudoRandom(3 * KiB * KiB, 1)

/** Stores `contents`, written in pieces of `pieceBytes`. */
async function put(blobs: BlobService, contents: Uint8Array, pieceBytes = 64 * KiB): Promise<Digest> {
  const writer = blobs.openWrite()
  for (let start = 0; start < contents.length; start += pieceBytes)
    await writer.write(contents.subarray(start, start + pieceBytes))
  return writer.close()
}

async function assertHolds(blobs: BlobService, contents: Uint8Array): Promise<void> {
  const digest = Digest.of(contents)
  assert.equal(await blobs.has(digest), true, 'has')
  assert.deepEqual(await hasMany(blobs, [digest]), [true], 'hasMany')
  assert.notEqual(await blobs.chunks(digest), undefined, 'chunks')
  assertSameBytes(await readBlob(blobs, digest), contents)
}

async function assertAbsent(blobs: BlobService, contents: Uint8Array): Promise<void> {
  const digest = Digest.of(contents)
  assert.equal(await blobs.has(digest), false, 'has')
  assert.deepEqual(await hasMany(blobs, [digest]), [false], 'hasMany')
  assert.equal(await blobs.chunks(digest), undefined, 'chunks')
  assert.equal(await blobs.openRead(digest), undefined, 'openRead')
}

function assertSameBytes(found: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(found, 'absent')
  assert.equal(found.length, expected.length, 'size')
  assert.equal(Buffer.compare(found, expected), 0, 'contents')
}

function roundTrip(title: string, contents: Uint8Array, pieceBytes?: number): Case<BlobService> {
  return {
    title: `gives back ${title}`,
    async run(blobs) {
      const digest = await put(blobs, contents, pieceBytes)
      assert.equal(digest.hex, Digest.of(contents).hex)
      await assertHolds(blobs, contents)
    },
  }
}

async function assertCancelled(work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => error instanceof StoreError && error.code === 'cancelled')
}

function aborted(): { signal: AbortSignal } {
  return { signal: AbortSignal.abort(new StoreError('cancelled', 'the test aborts')) }
}

const readingCases: readonly Case<BlobService>[] = [
  {
    title: 'has no blob that was never written',
    run: async (blobs) => assert.equal(await blobs.has(Digest.of(BLOB_A)), false),
  },
  {
    title: 'says of many blobs what it says of each',
    async run(blobs) {
      const digests: Digest[] = []
      for (let i = 0; i < 20; i++) {
        const contents = pseudoRandom(1_000 + i, i + 1)
        digests.push(i % 3 === 0 ? await put(blobs, contents) : Digest.of(contents))
      }
      digests.push(await put(blobs, LARGE), EMPTY_DIGEST)
      for (const { digest } of (await blobs.chunks(await put(blobs, LARGE))) ?? []) digests.push(digest)
      const each = await Promise.all(digests.map((digest) => blobs.has(digest)))
      assert.deepEqual(await hasMany(blobs, digests), each)
      assert.deepEqual(each.slice(0, 4), [true, false, false, true])
      assert.deepEqual(await hasMany(blobs, []), [])
    },
  },
  {
    title: 'has no chunks of an absent blob',
    run: async (blobs) => assert.equal(await blobs.chunks(Digest.of(BLOB_A)), undefined),
  },
  {
    title: 'opens no absent blob',
    run: async (blobs) => assert.equal(await blobs.openRead(Digest.of(BLOB_A)), undefined),
  },
  {
    title: 'tells blobs apart',
    async run(blobs) {
      await put(blobs, BLOB_A)
      await assertHolds(blobs, BLOB_A)
      await assertAbsent(blobs, BLOB_B)
    },
  },
  {
    title: 'reads the same blob again and again',
    async run(blobs) {
      await put(blobs, LARGE)
      for (let i = 0; i < 3; i++) await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'puts many blobs into their places in a buffer, and nothing beside them',
    async run(blobs) {
      const contents = [
        BLOB_A,
        pseudoRandom(5_000, 7),
        BLOB_A.subarray(1),
        LARGE,
        pseudoRandom(100_000, 8),
        EMPTY,
      ]
      const places = placesOf(contents)
      const target = new Uint8Array(places.at(-1)!.offset + GAP).fill(GAP)
      await assert.rejects(readBlobsInto(blobs, target, places), {
        code: 'corrupt',
        message: /is missing from/,
      })
      for (const bytes of contents) await put(blobs, bytes)
      await readBlobsInto(blobs, target, places)
      assertSameBytes(target, withGaps(contents))
    },
  },
  {
    title: 'leaves out what it cannot put into its place, if it puts blobs into places at all',
    async run(blobs) {
      if (!blobs.readInto) return
      for (const bytes of [BLOB_A, LARGE]) await put(blobs, bytes)
      const contents = [BLOB_A, BLOB_A, BLOB_B, LARGE, LARGE, BLOB_A]
      const places = placesOf(contents)
      const bad = [
        { ...places[1]!, size: BLOB_A.length + 1 },
        places[2]!,
        { ...places[3]!, size: LARGE.length - 1 },
      ]
      const target = new Uint8Array(places.at(-1)!.offset + BLOB_A.length)
      assert.deepEqual(await blobs.readInto(target, places.with(1, bad[0]!).with(3, bad[2]!)), bad)
      for (const i of [0, 4, 5]) {
        const { offset, size } = places[i]!
        assertSameBytes(target.subarray(offset, offset + size), contents[i]!)
      }
      const signal = AbortSignal.abort(new StoreError('cancelled', 'not wanted any more'))
      await assert.rejects(blobs.readInto(target, places, { signal }), { code: 'cancelled' })
    },
  },
  {
    title: 'serves 32 readers of one blob at the same time',
    async run(blobs) {
      const digest = await put(blobs, BLOB_B)
      await Promise.all(
        Array.from({ length: 32 }, async () => assertSameBytes(await readBlob(blobs, digest), BLOB_B)),
      )
    },
  },
  {
    title: 'yields pieces with bytes in them',
    async run(blobs) {
      for (const contents of [BLOB_A, LARGE]) {
        const digest = await put(blobs, contents)
        for await (const piece of (await blobs.openRead(digest))!) assert.ok(piece.length > 0)
      }
    },
  },
  {
    title: 'yields pieces that nobody writes to afterwards',
    async run(blobs) {
      const digest = await put(blobs, LARGE)
      const pieces: Uint8Array[] = []
      for await (const piece of (await blobs.openRead(digest))!) {
        pieces.push(piece)
        // Some backends give hundreds of pieces, and each put is durable: one in ten is enough to find memory that is used again.
        if (pieces.length % 10 === 1) await put(blobs, piece.slice(0, 1000))
      }
      assertSameBytes(concatBytes(pieces), LARGE)
    },
  },
  {
    title: 'yields pieces that belong to the reader',
    async run(blobs) {
      const digest = await put(blobs, LARGE)
      for await (const piece of (await blobs.openRead(digest))!) piece.fill(0)
      await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'releases the source of a reader that leaves early',
    async run(blobs) {
      const digest = await put(blobs, LARGE)
      for (let i = 0; i < 20; i++) for await (const _ of (await blobs.openRead(digest))!) break
      await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'keeps serving after a reader was opened and dropped',
    async run(blobs) {
      const digest = await put(blobs, LARGE)
      const dropped = (await blobs.openRead(digest))![Symbol.asyncIterator]()
      await dropped.return?.()
      await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'reads one blob while it writes another',
    async run(blobs) {
      const digest = await put(blobs, LARGE)
      const other = pseudoRandom(2 * KiB * KiB, 2)
      const writer = blobs.openWrite()
      let start = 0
      const pieces: Uint8Array[] = []
      for await (const piece of (await blobs.openRead(digest))!) {
        pieces.push(piece)
        await writer.write(other.subarray(start, start + 100_000))
        start = Math.min(start + 100_000, other.length)
      }
      await writer.write(other.subarray(start))
      await writer.close()
      assertSameBytes(concatBytes(pieces), LARGE)
      await assertHolds(blobs, other)
    },
  },
]

const sizes: readonly (readonly [string, number])[] = [
  ['1 byte', 1],
  ['1023 bytes', 1023],
  ['one byte less than the smallest chunk', CHUNK_BYTES_AVG / 2 - 1],
  ['exactly the smallest chunk', CHUNK_BYTES_AVG / 2],
  ['one byte more than the smallest chunk', CHUNK_BYTES_AVG / 2 + 1],
  ['exactly the average chunk', CHUNK_BYTES_AVG],
  ['one byte less than the largest chunk', CHUNK_BYTES_AVG * 2 - 1],
  ['exactly the largest chunk', CHUNK_BYTES_AVG * 2],
  ['one byte more than the largest chunk', CHUNK_BYTES_AVG * 2 + 1],
]

const roundTrips: readonly Case<BlobService>[] = [
  roundTrip('BLOB_A', BLOB_A),
  roundTrip('BLOB_B', BLOB_B),
  roundTrip('the empty blob', EMPTY),
  roundTrip('3 MiB of noise', LARGE),
  roundTrip('3 MiB of noise written at once', LARGE, LARGE.length),
  roundTrip('3 MiB of noise in writes of 65537 bytes', LARGE, 65_537),
  roundTrip('1 MiB of noise in writes of 999 bytes', pseudoRandom(KiB * KiB, 3), 999),
  roundTrip('5000 bytes written one by one', pseudoRandom(5000, 4), 1),
  roundTrip('2 MiB of zeroes', new Uint8Array(2 * KiB * KiB)),
  ...sizes.map(([title, size]) => roundTrip(title, pseudoRandom(size, size))),
  {
    title: 'gives back what was written in pieces of many sizes, empty ones among them',
    async run(blobs) {
      const writer = blobs.openWrite()
      const pieces = [0, 1, 70_000, 0, 300_000, 7, 600_000, 0].map((size, i) => pseudoRandom(size, 50 + i))
      for (const piece of pieces) await writer.write(piece)
      const contents = concatBytes(pieces)
      assert.equal((await writer.close()).hex, Digest.of(contents).hex)
      await assertHolds(blobs, contents)
    },
  },
  {
    title: 'gives back 200 small blobs written at the same time',
    async run(blobs) {
      const contents = Array.from({ length: 200 }, (_, i) => pseudoRandom(1 + i * 7, 1000 + i))
      await Promise.all(contents.map((blob) => put(blobs, blob)))
      for (const blob of contents) await assertHolds(blobs, blob)
    },
  },
]

const writingCases: readonly Case<BlobService>[] = [
  {
    title: 'closes with the digest of everything written',
    async run(blobs) {
      for (const name of ['BLOB_A', 'BLOB_B', 'HELLOWORLD', 'EMPTY']) {
        const { blake3_hex } = vectors.blobs.items.find((item: { name: string }) => item.name === name)
        assert.equal((await put(blobs, vectorBlob(name))).hex, blake3_hex)
      }
    },
  },
  {
    title: 'gives the same digest when closed twice',
    async run(blobs) {
      const writer = blobs.openWrite()
      await writer.write(BLOB_B)
      const first = await writer.close()
      assert.equal((await writer.close()).hex, first.hex)
      await assertHolds(blobs, BLOB_B)
    },
  },
  {
    title: 'keeps the blob when abort follows close',
    async run(blobs) {
      const writer = blobs.openWrite()
      await writer.write(LARGE)
      await writer.close()
      await writer.abort()
      await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'shows nothing before close',
    async run(blobs) {
      for (const contents of [BLOB_A, LARGE]) {
        const writer = blobs.openWrite()
        await writer.write(contents)
        await assertAbsent(blobs, contents)
        await writer.close()
        await assertHolds(blobs, contents)
      }
    },
  },
  {
    title: 'shows nothing after abort',
    async run(blobs) {
      for (const contents of [BLOB_A, LARGE]) {
        const writer = blobs.openWrite()
        await writer.write(contents)
        await writer.abort()
        await assertAbsent(blobs, contents)
      }
    },
  },
  {
    title: 'allows abort twice and before any write',
    async run(blobs) {
      const writer = blobs.openWrite()
      await writer.abort()
      await writer.abort()
      assert.equal(await blobs.has(EMPTY_DIGEST), false)
    },
  },
  {
    title: 'stores a blob after an aborted attempt',
    async run(blobs) {
      const writer = blobs.openWrite()
      await writer.write(LARGE.subarray(0, 2_000_000))
      await writer.abort()
      await put(blobs, LARGE)
      await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'refuses writes after abort',
    async run(blobs) {
      const writer = blobs.openWrite()
      await writer.write(BLOB_A)
      await writer.abort()
      await assert.rejects(async () => {
        await writer.write(BLOB_A)
        await writer.close()
      }, StoreError)
      await assertAbsent(blobs, BLOB_A)
    },
  },
  {
    title: 'stores the same blob twice as once',
    async run(blobs) {
      assert.equal((await put(blobs, LARGE)).hex, (await put(blobs, LARGE, 12_345)).hex)
      await assertHolds(blobs, LARGE)
    },
  },
  {
    title: 'stores the same blob 64 times at once',
    async run(blobs) {
      const digests = await Promise.all(Array.from({ length: 64 }, () => put(blobs, BLOB_B)))
      for (const digest of digests) assert.equal(digest.hex, Digest.of(BLOB_B).hex)
      await assertHolds(blobs, BLOB_B)
    },
  },
  {
    title: 'lets the writer have its memory back after close',
    async run(blobs) {
      for (const contents of [BLOB_A, LARGE]) {
        const memory = Uint8Array.from(contents)
        const writer = blobs.openWrite()
        await writer.write(memory)
        await writer.close()
        memory.fill(0xee)
        await assertHolds(blobs, contents)
      }
    },
  },
  {
    title: 'keeps two writers apart',
    async run(blobs) {
      const [first, second] = [blobs.openWrite(), blobs.openWrite()]
      for (let start = 0; start < BLOB_B.length; start += 100_000) {
        await first.write(BLOB_B.subarray(start, start + 100_000))
        await second.write(LARGE.subarray(start, start + 100_000))
      }
      await first.close()
      await second.abort()
      await assertHolds(blobs, BLOB_B)
      await assertAbsent(blobs, LARGE)
    },
  },
]

const cancellingCases: readonly Case<BlobService>[] = [
  {
    title: 'ends every call with an aborted signal as cancelled',
    async run(blobs) {
      const digest = await put(blobs, BLOB_B)
      await assertCancelled(blobs.has(digest, aborted()))
      await assertCancelled(hasMany(blobs, [digest], aborted()))
      await assertCancelled(blobs.chunks(digest, aborted()))
      await assertCancelled(readBlob(blobs, digest, undefined, aborted()))
      await assertHolds(blobs, BLOB_B)
    },
  },
  {
    title: 'does not answer "absent" to a call with an aborted signal',
    async run(blobs) {
      await assertCancelled(blobs.has(Digest.of(BLOB_A), aborted()))
      await assertCancelled(blobs.chunks(Digest.of(BLOB_A), aborted()))
      await assertCancelled(readBlob(blobs, Digest.of(BLOB_A), undefined, aborted()))
    },
  },
  {
    title: 'ends a read that is aborted in the middle, and serves the next one',
    async run(blobs) {
      const contents = pseudoRandom(8 * KiB * KiB, 5)
      const digest = await put(blobs, contents)
      const controller = new AbortController()
      const stream = await blobs.openRead(digest, { signal: controller.signal })
      await assertCancelled(
        (async () => {
          for await (const _ of stream!) controller.abort(new StoreError('cancelled', 'the test aborts'))
        })(),
      )
      await assertHolds(blobs, contents)
    },
  },
  {
    title: 'stores nothing for a writer whose signal was aborted before',
    async run(blobs) {
      const writer = blobs.openWrite(aborted())
      await assertCancelled(
        (async () => {
          await writer.write(BLOB_A)
          await writer.close()
        })(),
      )
      await writer.abort()
      await assertAbsent(blobs, BLOB_A)
    },
  },
  {
    title: 'stores nothing for a writer whose signal is aborted in the middle',
    async run(blobs) {
      const controller = new AbortController()
      const writer = blobs.openWrite({ signal: controller.signal })
      await writer.write(LARGE.subarray(0, 1_500_000))
      controller.abort(new StoreError('cancelled', 'the test aborts'))
      await assertCancelled(
        (async () => {
          await writer.write(LARGE.subarray(1_500_000))
          await writer.close()
        })(),
      )
      await writer.abort()
      await assertAbsent(blobs, LARGE)
    },
  },
]

/** What holds whether or not the service offers chunks. */
export const blobServiceCases: readonly Case<BlobService>[] = [
  ...readingCases,
  ...roundTrips,
  ...writingCases,
  ...cancellingCases,
]

async function assertChunksCover(blobs: BlobService, contents: Uint8Array): Promise<readonly ChunkMeta[]> {
  const chunks = await blobs.chunks(Digest.of(contents))
  assert.ok(chunks, 'chunks')
  let offset = 0
  for (const { digest, size } of chunks) {
    const expected = contents.subarray(offset, offset + size)
    assert.equal(digest.hex, Digest.of(expected).hex, `digest of the chunk at ${offset}`)
    await assertHolds(blobs, expected)
    offset += size
  }
  assert.equal(offset, contents.length, 'sum of the chunks')
  return chunks
}

const wholeCases: readonly Case<BlobService>[] = [
  {
    title: 'offers blobs of any size as a whole',
    async run(blobs) {
      for (const contents of [EMPTY, BLOB_A, LARGE])
        assert.deepEqual(await blobs.chunks(await put(blobs, contents)), [])
    },
  },
]

const contentDefinedCases: readonly Case<BlobService>[] = [
  {
    title: 'divides BLOB_B as everybody does',
    async run(blobs) {
      await put(blobs, BLOB_B)
      const found = (await assertChunksCover(blobs, BLOB_B)).map(({ digest, size }) => [digest.hex, size])
      const { chunks } = vectors.fastcdc.cases.find((item: { input: string }) => item.input === 'BLOB_B')
      assert.deepEqual(
        found,
        chunks.map((chunk: { blake3_hex: string; size: number }) => [chunk.blake3_hex, chunk.size]),
      )
    },
  },
  {
    title: 'covers a blob exactly with chunks that read like blobs',
    async run(blobs) {
      await put(blobs, LARGE, 777_777)
      assert.ok((await assertChunksCover(blobs, LARGE)).length > 3)
    },
  },
  {
    title: 'covers a blob of equal chunks',
    async run(blobs) {
      const zeroes = new Uint8Array(5 * CHUNK_BYTES_AVG)
      await put(blobs, zeroes)
      assert.equal((await assertChunksCover(blobs, zeroes)).length, 3)
    },
  },
  {
    title: 'divides a blob the same way however it was written',
    async run(blobs) {
      await put(blobs, LARGE, 1_000)
      const first = await blobs.chunks(Digest.of(LARGE))
      await put(blobs, LARGE, LARGE.length)
      assert.deepEqual(await blobs.chunks(Digest.of(LARGE)), first)
    },
  },
  {
    title: 'offers a blob of one chunk or none as a whole',
    async run(blobs) {
      for (const contents of [EMPTY, BLOB_A, LARGE.subarray(0, CHUNK_BYTES_AVG / 2)])
        assert.deepEqual(await blobs.chunks(await put(blobs, contents)), [])
    },
  },
  {
    title: 'offers a chunk as a whole',
    async run(blobs) {
      await put(blobs, BLOB_B)
      for (const { digest } of (await blobs.chunks(Digest.of(BLOB_B)))!)
        assert.deepEqual(await blobs.chunks(digest), [])
    },
  },
]

export const chunkCases: Readonly<Record<BlobServiceProperties['chunks'], readonly Case<BlobService>[]>> = {
  whole: wholeCases,
  'content-defined': contentDefinedCases,
}

/** Bytes between two places, and their value. */
const GAP = 8

function placesOf(contents: readonly Uint8Array[]): PlacedBlob[] {
  let end = 0
  return contents.map((bytes) => {
    const offset = end + GAP
    end = offset + bytes.length
    return { digest: Digest.of(bytes), size: bytes.length, offset }
  })
}

function withGaps(contents: readonly Uint8Array[]): Uint8Array {
  const gap = new Uint8Array(GAP).fill(GAP)
  const pieces = [gap, ...contents.flatMap((bytes) => [bytes, gap])]
  return concatBytes(pieces)
}
