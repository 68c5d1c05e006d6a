/** How much is fetched ahead of files that are read in order: more from afar, and together never more than is kept. */
import { expect, test } from 'vitest'
import { ReadAhead, type ReadSource } from '../../../../src/mount/tree/read-ahead.ts'
import {
  MOUNT_CHUNK_CACHE_BYTES,
  MOUNT_FETCH_BYTES_MAX,
  MOUNT_FETCHES_MAX,
  MOUNT_READ_AHEAD_BYTES,
  MOUNT_READ_AHEAD_BYTES_MAX,
  MOUNT_READ_AHEAD_READS,
} from '../../../../src/support/limits.ts'
import { FakeStore, walk } from '../../../support/trees.ts'

const KiB = 1024
const MiB = 1024 * KiB
const SIZE = 1024 * MiB
const NEAR = { isFar: false, isWaitedFor: true }
const FAR = { isFar: true, isWaitedFor: true }
const FAR_BUT_THERE = { isFar: true, isWaitedFor: false }

/** Reads files in order, 1 MiB each time, and tells how far ahead of the read each was fetched. */
function reader() {
  const ahead = new ReadAhead()
  const at = new Map<number, number>()
  const reached = new Map<number, number>()
  return (inode: number, source: ReadSource): number => {
    const start = at.get(inode) ?? 0
    const end = start + MiB
    at.set(inode, end)
    const range = ahead.next(inode, { start, end }, SIZE, source)
    if (range) reached.set(inode, range.end)
    return Math.max(0, (reached.get(inode) ?? 0) - end)
  }
}

test('more is fetched ahead of a file from afar, while its reads wait', () => {
  const read = reader()
  const after = (source: ReadSource) => Array.from({ length: 12 }, () => read(7, source)).at(-1)
  expect(after(FAR_BUT_THERE)).toBe(MOUNT_READ_AHEAD_BYTES)
  expect(after(NEAR)).toBe(MOUNT_READ_AHEAD_BYTES)
  expect(after(FAR)).toBe(MOUNT_READ_AHEAD_BYTES_MAX)
  // What was found to be right stays so.
  expect(after(FAR_BUT_THERE)).toBe(MOUNT_READ_AHEAD_BYTES_MAX)
})

test.each([2, 3, 8, 20])('%i files share alike what is fetched ahead', (count) => {
  const read = reader()
  const windows = new Map<number, number>()
  for (let round = 0; round < 64; round++)
    for (let inode = 2; inode < 2 + count; inode++) windows.set(inode, read(inode, FAR))
  const all = [...windows.values()]
  expect(all.reduce((sum, window) => sum + window)).toBeLessThanOrEqual(MOUNT_READ_AHEAD_BYTES_MAX)
  for (const window of all) expect(window).toBe(Math.floor(MOUNT_READ_AHEAD_BYTES_MAX / count))
})

test('who reads no more leaves its share to the others', () => {
  const read = reader()
  for (let round = 0; round < 64; round++) for (const inode of [2, 3]) read(inode, FAR)
  expect(read(2, FAR)).toBe(MOUNT_READ_AHEAD_BYTES_MAX / 2)
  for (let i = 0; i < MOUNT_READ_AHEAD_READS + 2; i++) read(2, FAR)
  expect(read(2, FAR)).toBe(MOUNT_READ_AHEAD_BYTES_MAX)
})

test('what is ahead of all readers is kept until it is read, and leaves fetches for reads', () => {
  expect(MOUNT_READ_AHEAD_BYTES_MAX).toBeLessThanOrEqual(MOUNT_CHUNK_CACHE_BYTES / 2)
  expect(MOUNT_READ_AHEAD_BYTES_MAX).toBeLessThan(MOUNT_FETCH_BYTES_MAX / 4)
})

/** Files of synthetic chunks, read side by side; their contents come after `ms`. */
async function files(count: number, chunks: number, ms: number) {
  const store = new FakeStore()
  let now = 0
  const blobs = Array.from({ length: count }, (_, n) =>
    store.blobs.addSynthetic(`blob ${n}`, 256 * KiB, chunks),
  )
  for (const [n, blob] of blobs.entries())
    store.rootNodes.add(`${n}-f`, { kind: 'file', ...blob, size: BigInt(blob.size), executable: false })
  const tree = store.tree({ now: () => (now += ms) })
  const inodes: number[] = []
  for (let n = 0; n < count; n++) inodes.push((await walk(tree, `${n}-f`)).inode)
  return { store, tree, inodes, bytes: blobs.reduce((sum, { size }) => sum + size, 0) }
}

test.each([5, 100])('nothing is fetched twice, however many read side by side (%i ms away)', async (ms) => {
  const { store, tree, inodes, bytes } = await files(16, 48, ms)
  for (let offset = 0; offset < (48 * MiB) / 4; offset += MiB)
    await Promise.all(inodes.map(async (inode) => await tree.read(inode, offset, MiB)))
  await expect.poll(() => store.blobs.readBytes).toBe(bytes)
  expect(tree.usage.chunkBytes).toBeLessThanOrEqual(MOUNT_CHUNK_CACHE_BYTES)
  expect(store.blobs.readsAtOnceMax).toBeLessThanOrEqual(MOUNT_FETCHES_MAX)
})

test('of two who read from afar, each has half of what is on its way', async () => {
  const { store, tree, inodes } = await files(2, 128, 20)
  const asked = [0, 0]
  const read = async (i: number, offset: number) => {
    const before = store.blobs.readRequests
    const reading = tree.read(inodes[i]!, offset, MiB)
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    asked[i]! += store.blobs.readRequests - before
    return reading
  }
  for (let offset = 0; offset < 16 * MiB; offset += MiB) for (const i of [0, 1]) await read(i, offset)
  expect(asked[0]).toBe(asked[1])
  // Nothing comes any more: what one waits for leaves the other as much as it has itself.
  store.blobs.hold()
  asked.fill(0)
  for (let offset = 16 * MiB; offset < 32 * MiB; offset += MiB)
    for (const i of [0, 1]) void read(i, offset).catch(() => {})
  for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate)
  expect(store.blobs.readsAtOnceMax).toBeLessThanOrEqual(MOUNT_FETCHES_MAX)
  tree.close()
  store.blobs.open()
})
