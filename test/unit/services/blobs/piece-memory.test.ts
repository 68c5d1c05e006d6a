import { expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { BlobService, BlobStream } from '../../../../src/services/blobs/interface.ts'
import { LocalChunks } from '../../../../src/services/blobs/local-chunks.ts'
import { objectStoreBlobService } from '../../../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { LayerMetrics } from '../../../../src/services/composition/layer-metrics.ts'
import { measuredBlobService } from '../../../../src/services/composition/measured.ts'
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import {
  CHUNK_BYTES_AVG,
  CHUNK_END_BYTES,
  CHUNK_READS_OF_ALL_MAX,
  LOCAL_CHUNKS_BYTES,
} from '../../../../src/support/limits.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

/** Far more than is read ahead. */
const CONTENTS = pseudoRandom(24 * 1024 * 1024, 1)
const DIGEST = Digest.of(CONTENTS)

/** As a server has them: chunks on this machine, verified, and counted at both ends. */
async function stored(folder: string): Promise<BlobService> {
  const local = LocalChunks.at(folder)
  expect(local).toBeDefined()
  const metrics = new LayerMetrics()
  const backend = objectStoreBlobService(await openFileObjectStore(folder), CHUNK_BYTES_AVG, local)
  const verified = verifyingBlobService(measuredBlobService(backend, 'backend', metrics), folder)
  const writer = verified.openWrite()
  await writer.write(CONTENTS)
  expect((await writer.close()).equals(DIGEST)).toBe(true)
  return measuredBlobService(verified, 'verified', metrics)
}

/** Tells places of memory apart, whatever buffer shows them, by what it writes to their ends: pieces rarely reach so far. */
class Places {
  readonly #seen = new Set<bigint>()

  get count(): number {
    return this.#seen.size
  }

  see({ buffer }: Uint8Array): void {
    const end = new BigUint64Array(buffer, Math.floor(buffer.byteLength / 8) * 8 - 8, 1)
    if (this.#seen.has(end[0]!)) return
    end[0] = MARK + BigInt(this.#seen.size)
    this.#seen.add(end[0])
  }
}
const MARK = 0x5eed_0000_0000_0000n

/** The blob as a reader sees it who gives each piece back `late` pieces after it, and in how many places of memory that was. */
async function read(stream: BlobStream, late: number): Promise<{ isRight: boolean; places: number }> {
  const held: { piece: Uint8Array; start: number }[] = []
  const places = new Places()
  let start = 0
  let isRight = true
  const check = (each: { piece: Uint8Array; start: number }) => {
    const expected = CONTENTS.subarray(each.start, each.start + each.piece.length)
    isRight &&= Buffer.compare(each.piece, expected) === 0
  }
  for await (const piece of stream) {
    if (piece.buffer.byteLength === LOCAL_CHUNKS_BYTES) places.see(piece)
    held.push({ piece, start })
    start += piece.length
    if (held.length <= late) continue
    const done = held.shift()!
    check(done)
    stream.giveBack!(done.piece)
  }
  held.forEach(check)
  return { isRight: isRight && start === CONTENTS.length, places: places.count }
}

test('what a reader gives back holds later pieces, and never one that he still has', async () => {
  await using dir = await tempDir()
  const blobs = await stored(dir.path)
  for (const late of [0, 1, 3]) {
    const { isRight, places } = await read((await blobs.openRead(DIGEST))!, late)
    expect(isRight).toBe(true)
    expect(places).toBeLessThanOrEqual(8 + late)
  }
})

test('who gives nothing back keeps his pieces', async () => {
  await using dir = await tempDir()
  const blobs = await stored(dir.path)
  const { isRight, places } = await read((await blobs.openRead(DIGEST))!, Number.POSITIVE_INFINITY)
  expect(isRight).toBe(true)
  expect(places).toBeGreaterThan(20)
})

test('who goes on reading what he gave back finds nothing there, and no bytes of anybody else', async () => {
  await using dir = await tempDir()
  const stream = (await (await stored(dir.path)).openRead(DIGEST))!
  let given = 0
  for await (const piece of stream) {
    const kept = piece.subarray(1)
    stream.giveBack!(piece)
    expect([piece.length, kept.length]).toEqual([0, 0])
    given++
    // Once more does nothing: the memory has another reader by now.
    stream.giveBack!(piece)
  }
  expect(given).toBeGreaterThan(20)
})

/** Readers that have opened a blob and taken one piece each, and whether all of them can read on to the right end. */
async function crowd(blobs: BlobService, readers: number) {
  const streams = []
  for (let i = 0; i < readers; i++) {
    const stream = (await blobs.openRead(DIGEST))!
    const pieces = stream[Symbol.asyncIterator]()
    const { value } = await pieces.next()
    streams.push({ stream, pieces, first: value as Uint8Array })
  }
  return streams
}

const CROWD = 3 * CHUNK_READS_OF_ALL_MAX

test('in a crowd no reader has more than a chunk and two ends of chunks in memory', async () => {
  await using dir = await tempDir()
  const streams = await crowd(await stored(dir.path), CROWD)
  const last = streams.slice(-CHUNK_READS_OF_ALL_MAX)
  for (let round = 0; round < 8; round++)
    for (const each of last) {
      const held = each.first.buffer.byteLength
      expect(held).toBeLessThanOrEqual(2 * CHUNK_BYTES_AVG)
      each.stream.giveBack!(each.first)
      const { value } = await each.pieces.next()
      // Of two pieces in a row one is an end at most as long as what is kept back, in memory of its own.
      expect(Math.min(held, value.buffer.byteLength)).toBe(CHUNK_END_BYTES)
      each.first = value
    }
  for (const { pieces } of streams) await pieces.return!()
})

test('in a crowd, each that gives back late, and leaves when he likes, reads his own bytes and not those of others', async () => {
  await using dir = await tempDir()
  const blobs = await stored(dir.path)
  const streams = await crowd(blobs, CHUNK_READS_OF_ALL_MAX + 1)
  const results = await Promise.all(
    Array.from({ length: 6 }, async (_, i) => read((await blobs.openRead(DIGEST))!, i)),
  )
  expect(results.every(({ isRight }) => isRight)).toBe(true)
  for (const { pieces } of streams) await pieces.return!()
})

test('negative control: a layer that gives back what its reader still has is found out', async () => {
  await using dir = await tempDir()
  const stream = (await (await stored(dir.path)).openRead(DIGEST))!
  async function* tooEarly() {
    for await (const piece of stream) {
      stream.giveBack!(piece)
      yield piece
    }
  }
  const broken = { [Symbol.asyncIterator]: tooEarly, giveBack: () => {} }
  expect((await read(broken, 1)).isRight).toBe(false)
})
