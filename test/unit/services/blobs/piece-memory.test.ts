import { expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { BlobService, BlobStream } from '../../../../src/services/blobs/interface.ts'
import { LocalChunks } from '../../../../src/services/blobs/local-chunks.ts'
import { objectStoreBlobService } from '../../../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { LayerMetrics } from '../../../../src/services/composition/layer-metrics.ts'
import { measuredBlobService } from '../../../../src/services/composition/measured.ts'
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { CHUNK_BYTES_AVG } from '../../../../src/support/limits.ts'
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

/** The blob as a reader sees it who gives each piece back `late` pieces after it, and in how many places of memory that was. */
async function read(stream: BlobStream, late: number): Promise<{ isRight: boolean; places: number }> {
  const held: { piece: Uint8Array; start: number }[] = []
  const places = new Set<ArrayBufferLike>()
  let start = 0
  let isRight = true
  const check = (each: { piece: Uint8Array; start: number }) => {
    const expected = CONTENTS.subarray(each.start, each.start + each.piece.length)
    isRight &&= Buffer.compare(each.piece, expected) === 0
  }
  for await (const piece of stream) {
    places.add(piece.buffer)
    held.push({ piece, start })
    start += piece.length
    if (held.length <= late) continue
    const done = held.shift()!
    check(done)
    stream.giveBack!(done.piece)
  }
  held.forEach(check)
  return { isRight: isRight && start === CONTENTS.length, places: places.size }
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

test('who goes on reading what he gave back is told apart: the test would see it', async () => {
  await using dir = await tempDir()
  const stream = (await (await stored(dir.path)).openRead(DIGEST))!
  const pieces: Uint8Array[] = []
  for await (const piece of stream) {
    pieces.push(piece)
    stream.giveBack!(piece)
  }
  expect(Buffer.concat(pieces).equals(CONTENTS)).toBe(false)
})
