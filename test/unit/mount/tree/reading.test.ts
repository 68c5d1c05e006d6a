import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { CastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import type { FileContents, LocalChunkReads } from '../../../../src/mount/tree/file-reader.ts'
import type { Tree } from '../../../../src/mount/tree/interface.ts'
import type { PlannedReads } from '../../../../src/mount/tree/planned-reads.ts'
import { ReadAhead } from '../../../../src/mount/tree/read-ahead.ts'
import { ReadPlan } from '../../../../src/mount/tree/read-plan.ts'
import type { TreeLimits } from '../../../../src/mount/tree/tree-limits.ts'
import type { PackPlaces } from '../../../../src/services/blobs/chunk-places.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import {
  MOUNT_LARGE_READ_BYTES_MIN,
  MOUNT_READ_AHEAD_BYTES,
  MOUNT_READ_AHEAD_BYTES_MIN,
  MOUNT_READ_AHEAD_FILES_MAX,
  MOUNT_WHOLE_BYTES_MAX,
} from '../../../../src/support/limits.ts'
import { FakeStore, PageSink, readAll, walk } from '../../../support/trees.ts'

const KiB = 1024
const MiB = 1024 * KiB

/** A blob of unequal chunks, more than one of which fits a request. */
function irregular(): { fake: FakeStore; contents: Buffer } {
  const fake = new FakeStore()
  const sizes = [1, 70_000, 2, 2, 40_000, 99_999, 1, 1, 1, 30_000, 12_345]
  const contents = Buffer.alloc(sizes.reduce((sum, size) => sum + size))
  for (let i = 0; i < contents.length; i++) contents[i] = (i * 31) ^ (i >> 8)
  const digest = Digest.of(contents)
  let offset = 0
  const chunks = sizes.map((size) => {
    const chunk = contents.subarray(offset, offset + size)
    offset += size
    return { digest: fake.blobs.add(chunk), size }
  })
  fake.blobs.lists.set(digest.key, chunks)
  fake.rootNodes.add('1-f', { kind: 'file', digest, size: BigInt(contents.length), executable: false })
  return { fake, contents }
}

async function synthetic(count: number, limits: Partial<TreeLimits> = {}, chunkSize = 256 * KiB) {
  const fake = new FakeStore()
  const blob = fake.blobs.addSynthetic('blob', chunkSize, count)
  fake.rootNodes.add('1-f', { kind: 'file', ...blob, size: BigInt(blob.size), executable: false })
  const tree = fake.tree({ limits })
  return { fake, tree, size: blob.size, inode: (await walk(tree, '1-f')).inode }
}

/** Lets everything that runs in the background come to rest; the fakes need a few turns of the event loop. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
}

const READS = fc.array(fc.record({ offset: fc.nat(260_000), size: fc.nat(150_000) }), { maxLength: 30 })

async function compareReads(tree: Tree, contents: Buffer): Promise<void> {
  const { inode } = await walk(tree, '1-f')
  await fc.assert(
    fc.asyncProperty(READS, async (reads) => {
      const answers = await Promise.all(reads.map(({ offset, size }) => readAll(tree, inode, offset, size)))
      for (const [i, { offset, size }] of reads.entries())
        expect(answers[i]!.equals(contents.subarray(offset, offset + size))).toBe(true)
    }),
  )
}

describe('reading', () => {
  test('any range gives exactly its bytes, cut at the end of the file', async () => {
    const { fake, contents } = irregular()
    await compareReads(fake.tree(), contents)
  })

  test('likewise when next to nothing is kept, and fetches wait for each other', async () => {
    const { fake, contents } = irregular()
    await compareReads(
      fake.tree({ limits: { chunkCacheBytes: 1, chunkListsMax: 1, fetchesMax: 2 } }),
      contents,
    )
  })

  test('control: a tree that answers one byte less is found out', async () => {
    const { fake, contents } = irregular()
    const tree = fake.tree()
    const short: Tree = Object.create(tree, {
      read: { value: async (i: number, o: number, s: number) => tree.read(i, o, s > 100_000 ? s - 1 : s) },
    })
    await expect(compareReads(short, contents)).rejects.toThrow()
  })

  test('hands out the chunks in memory, not copies of them', async () => {
    const { tree, inode } = await synthetic(4)
    const [first] = await tree.read(inode, 0, 10)
    const [again] = await tree.read(inode, 5, 10)
    expect(again!.buffer).toBe(first!.buffer)
  })

  test('a chunk that two blobs share is fetched once', async () => {
    const fake = new FakeStore()
    const chunks = [{ digest: fake.blobs.add(new Uint8Array(200_000)), size: 200_000 }]
    for (const name of ['1-a', '2-b']) {
      const digest = Digest.of(utf8(name))
      const own = { digest: fake.blobs.add(utf8(name)), size: 3 }
      fake.blobs.lists.set(digest.key, [...chunks, own])
      fake.rootNodes.add(name, { kind: 'file', digest, size: 200_003n, executable: false })
    }
    const tree = fake.tree()
    for (const name of ['1-a', '2-b'])
      expect((await readAll(tree, (await walk(tree, name)).inode, 199_999, 9)).toString()).toBe(`\0${name}`)
    expect(fake.blobs.readRequests).toBe(3)
  })
})

describe('chunks of this machine', () => {
  const NOW_BYTES_MAX = 40_000

  /** Has the chunks of `irregular`, but not those in `lost`, and the small ones on the spot. */
  class FakeLocalChunks implements LocalChunkReads {
    readonly lost = new Set<string>()
    readonly #fake: FakeStore
    constructor(fake: FakeStore) {
      this.#fake = fake
    }
    async readVerified({ digest }: FileContents) {
      return this.lost.has(digest.key) ? undefined : this.#fake.blobs.contents.get(digest.key)?.()
    }
    readVerifiedNow({ digest, size }: FileContents) {
      if (size > NOW_BYTES_MAX || this.lost.has(digest.key)) return undefined
      return this.#fake.blobs.contents.get(digest.key)?.()
    }
  }

  test('are asked no service for, and those that are lost are', async () => {
    const { fake, contents } = irregular()
    const localChunks = new FakeLocalChunks(fake)
    await compareReads(fake.tree({ localChunks }), contents)
    expect(fake.blobs.readRequests).toBe(0)
    const all = fake.blobs.lists.values().next().value!
    for (const { digest } of all.slice(0, 5)) localChunks.lost.add(digest.key)
    const tree = fake.tree({ localChunks })
    await compareReads(tree, contents)
    // Reads at random may have left out a chunk of one byte.
    await readAll(tree, (await walk(tree, '1-f')).inode, 0, contents.length)
    // Two of these five are the same.
    expect(fake.blobs.readRequests).toBe(new Set(all.slice(0, 5).map(({ digest }) => digest.key)).size)
  })

  test('are put together by plan once they are known, and in the usual way where that has no answer', async () => {
    const { fake, contents } = irregular()
    const spans: number[] = []
    const ahead: number[] = []
    const plannedReads: PlannedReads = {
      source: { kind: 'loose', folder: '' },
      read: (plan, size) => {
        spans.push(new DataView(plan.finish(0, 0, 0, 0, size).buffer).getUint32(28, true))
        return size === 6 ? Promise.resolve(undefined) : size === 7 ? undefined : new Uint8Array(size).fill(7)
      },
      keepAhead: (plan) => ahead.push(new DataView(plan.finish(0, 0, 0, 0, 0).buffer).getUint32(28, true)),
    }
    const tree = fake.tree({ localChunks: new FakeLocalChunks(fake), plannedReads })
    const { inode } = await walk(tree, '1-f')
    const at = (offset: number, size: number) => readAll(tree, inode, offset, size)
    expect((await at(0, 10)).equals(contents.subarray(0, 10))).toBe(true)
    expect(spans).toEqual([])
    expect((await at(10, 100)).equals(Buffer.alloc(100, 7))).toBe(true)
    expect((await at(110, 70_000)).equals(Buffer.alloc(70_000, 7))).toBe(true)
    for (const size of [6, 7])
      expect((await at(99, size)).equals(contents.subarray(99, 99 + size))).toBe(true)
    expect(spans).toEqual([1, 4, 1, 1])
    // The third one came where the second had ended: the seven chunks behind it.
    expect(ahead).toEqual([7])
  })

  test('a blob that lies in a pack as one chunk is planned without its list', async () => {
    const fake = new FakeStore()
    const files = ['packed', 'divided'].map(
      (name) => [name, fake.file(name.padEnd(200 * KiB, name))] as const,
    )
    for (const [name, node] of files) fake.rootNodes.add(`1-${name}`, node)
    const packed = files[0]![1].digest
    const find: PackPlaces['find'] = (digest) => packed.bytes.every((byte, i) => byte === digest[i])
    const plan = new ReadPlan({ kind: 'packs', folder: '', places: { find } })
    const tree = fake.tree()
    const planned = async (name: string) =>
      tree.planRead!((await walk(tree, `1-${name}`)).inode, 0, 4 * KiB, plan)
    expect(await planned('divided')).toBe(false)
    expect(await planned('packed')).toBe(true)
    expect(fake.blobs.chunkRequests).toBe(0)
  })

  test('what is read in order by plan is planned ahead, each part once', async () => {
    const { tree, inode, size } = await synthetic(16)
    await tree.read(inode, 0, 1)
    const plan = new ReadPlan()
    const chunksAhead = (offset: number) =>
      tree.planAhead!(inode, offset, MiB, plan)
        ? new DataView(plan.finish(0, 0, 0, 0, 0).buffer).getUint32(28, true)
        : 0
    expect([0, 1, 2, 3].map((at) => chunksAhead(at * MiB))).toEqual([0, 2, 4, 0])
    // Not beyond the end, and not after a read elsewhere.
    expect(chunksAhead(MiB)).toBe(0)
    expect(chunksAhead(size)).toBe(0)
  })

  test.each([
    ['when they are asked for, while they are in memory', true],
    ['ahead, where somebody waits for the disk', false],
  ])('small files are read %s', async (_, isInMemory) => {
    const fake = new FakeStore()
    const files = Array.from({ length: 100 }, (_, i) => [`f${i}`, fake.file(`contents ${i}`)] as const)
    fake.rootNodes.add('1-d', fake.directory(Object.fromEntries(files)))
    const localChunks = new FakeLocalChunks(fake)
    if (!isInMemory) localChunks.readVerifiedNow = () => undefined
    const tree = fake.tree({ localChunks })
    const { inode } = await walk(tree, '1-d')
    const sink = new PageSink(files.length)
    await tree.readdir(inode, 0, sink, true)
    for (const { name, entry } of sink.taken.slice(0, 20))
      expect(Buffer.concat((await tree.read(entry.inode, 0, 99)) as Uint8Array[]).toString()).toBe(
        `contents ${name.slice(1)}`,
      )
    await settle()
    expect(tree.stats.chunks.fetched).toBe(isInMemory ? 20 : 100)
    expect(fake.blobs.readRequests).toBe(0)
  })
})

describe('limits', () => {
  test('what is kept stays below them', async () => {
    const { fake, tree, inode, size } = await synthetic(64, { chunkCacheBytes: MiB, chunkListsMax: 100 })
    for (let offset = 0; offset < size; offset += 128 * KiB) await tree.read(inode, offset, 128 * KiB)
    expect(tree.usage.chunkBytes).toBeLessThanOrEqual(MiB)
    expect(tree.usage.chunkBytes).toBeGreaterThan(0)
    const other = fake.blobs.addSynthetic('other', 256 * KiB, 64)
    fake.rootNodes.add('2-f', { kind: 'file', ...other, size: BigInt(other.size), executable: false })
    await tree.read((await walk(tree, '2-f')).inode, 0, 10)
    expect(tree.usage.chunkListEntries).toBe(64)
    await tree.read(inode, 0, 10)
    expect(tree.stats.chunkLists.fetched).toBe(3)
  })

  test('a chunk larger than the cache is kept, alone', async () => {
    const { fake, tree, inode } = await synthetic(2, { chunkCacheBytes: 100 * KiB })
    for (let i = 0; i < 10; i++) await tree.read(inode, i * 10, 10)
    await settle()
    expect(fake.blobs.readRequests - tree.stats.readAhead.fetched).toBe(1)
  })

  test('no more fetches at once than allowed, and large chunks take the room of several', async () => {
    for (const [limits, atOnce] of [
      [{ fetchesMax: 4 }, 4],
      [{ fetchesMax: 4, fetchBytesMax: 512 * KiB }, 2],
      [{ fetchesMax: 4, fetchBytesMax: 4 * KiB }, 1],
    ] as const) {
      const { fake, tree, inode, size } = await synthetic(16, limits)
      await tree.read(inode, size - 1, 1) // the list of chunks is not what is counted here
      fake.blobs.hold()
      const reading = readAll(tree, inode, 0, size)
      await settle()
      expect(fake.blobs.readsAtOnceMax).toBe(atOnce)
      fake.blobs.open()
      expect(await reading).toHaveLength(size)
      expect(fake.blobs.readsAtOnceMax).toBe(atOnce)
    }
  })
})

describe('read-ahead', () => {
  const readInOrder = async (tree: CastoreTree, inode: number, end: number) => {
    for (let offset = 0; offset < end; offset += 128 * KiB) {
      await tree.read(inode, offset, 128 * KiB)
      await settle()
    }
  }

  test('reading in order finds the next chunks in memory', async () => {
    const { fake, tree, inode, size } = await synthetic(64)
    await readInOrder(tree, inode, size / 2)
    expect(tree.stats.chunks.asked - tree.stats.chunks.cached).toBeLessThanOrEqual(2)
    expect(tree.stats.readAhead.fetched).toBeGreaterThan(30)
    expect(tree.stats.readAhead.fetchedBytes).toBe(tree.stats.readAhead.fetched * 256 * KiB)
    // Ahead by the window and not further; nothing twice.
    expect(fake.blobs.readBytes).toBeLessThanOrEqual(size / 2 + MOUNT_READ_AHEAD_BYTES + 256 * KiB)
    expect(fake.blobs.readRequests).toBe(tree.stats.chunks.fetched)
    await readInOrder(tree, inode, size)
    expect(fake.blobs.readBytes).toBe(size)
  })

  test('reading at random fetches nothing more than is read', async () => {
    const { tree, inode, size } = await synthetic(64)
    for (let i = 0; i < 40; i++) await tree.read(inode, ((i * 37) % 61) * 256 * KiB + 8192, 4096)
    await settle()
    expect(size).toBe(64 * 256 * KiB)
    expect(tree.stats.readAhead.fetched).toBe(0)
    expect(tree.stats.chunks.fetched).toBe(40)
  })

  test('a first look at a file is no evidence', async () => {
    const { fake, tree, inode } = await synthetic(64)
    await tree.read(inode, 0, 128 * KiB)
    await settle()
    expect(fake.blobs.readRequests).toBe(1)
  })

  test('a list of chunks that leads nowhere is asked for again by the next read', async () => {
    const { fake, contents } = irregular()
    const digest = Digest.of(contents)
    const right = fake.blobs.lists.get(digest.key)!
    fake.blobs.lists.set(
      digest.key,
      right.with(1, { ...right[1]!, digest: Digest.of(utf8('nobody has this')) }),
    )
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-f')
    await expect(async () => tree.read(inode, 0, 100)).rejects.toMatchObject({ code: 'corrupt' })
    fake.blobs.lists.set(digest.key, right)
    expect(await readAll(tree, inode, 0, 100)).toEqual(contents.subarray(0, 100))
  })

  test('its failure is silent, and told to whoever reads', async () => {
    const { fake, tree, inode } = await synthetic(8)
    await tree.read(inode, 0, 128 * KiB)
    fake.blobs.failure = new StoreError('unavailable', 'gone')
    await tree.read(inode, 128 * KiB, 128 * KiB)
    await settle()
    expect(tree.stats.readAhead.failed).toBeGreaterThan(0)
    await expect(async () => tree.read(inode, 256 * KiB, 10)).rejects.toMatchObject({ code: 'unavailable' })
    fake.blobs.failure = undefined
    expect(await readAll(tree, inode, 256 * KiB, 2)).toEqual(Buffer.from([1, 2]))
  })

  test('takes at most half of the fetches, and ends when the tree is closed', async () => {
    const { fake, tree, inode } = await synthetic(64, { fetchesMax: 6 })
    for (let i = 0; i < 2; i++) await tree.read(inode, i * 128 * KiB, 128 * KiB)
    await settle()
    fake.blobs.hold()
    const before = fake.blobs.readRequests
    for (let i = 2; i < 4; i++) void tree.read(inode, i * 128 * KiB, 128 * KiB)
    await settle()
    expect(fake.blobs.readRequests - before).toBeLessThanOrEqual(3)
    expect(fake.blobs.readRequests - before).toBeGreaterThan(0)
    tree.close()
    await settle()
    expect(fake.blobs.aborted).toBe(fake.blobs.readRequests - before)
    fake.blobs.open()
  })

  test('the window doubles while reading goes on, and a seek shuts it', () => {
    const ahead = new ReadAhead()
    const size = 1024 * MiB
    const next = (start: number) => ahead.next(7, { start, end: start + 128 * KiB }, size)
    expect(next(0)).toBeUndefined()
    let reached = 0
    for (let i = 1; i < 12; i++) {
      const range = next(i * 128 * KiB)
      if (!range) continue
      if (reached) expect(range.start).toBe(reached)
      reached = range.end
      const window = Math.min(MOUNT_READ_AHEAD_BYTES_MIN * 2 ** (i - 1), MOUNT_READ_AHEAD_BYTES)
      expect(range.end).toBe((i + 1) * 128 * KiB + window)
    }
    expect(next(500 * MiB)).toBeUndefined()
    const start = 500 * MiB + 256 * KiB
    expect(next(500 * MiB + 128 * KiB)).toEqual({ start, end: start + MOUNT_READ_AHEAD_BYTES_MIN })
    expect(ahead.next(7, { start, end: size }, size)).toBeUndefined()
  })

  test('large reads in order from afar begin with what is fetched whole from there', () => {
    const read = (bytes: number, isFar: boolean) => {
      const ahead = new ReadAhead()
      const next = (start: number) => ahead.next(7, { start, end: start + bytes }, 1024 * MiB, { isFar })
      expect(next(0)).toBeUndefined()
      const said = next(bytes)!
      return said.end - said.start
    }
    expect(read(MOUNT_LARGE_READ_BYTES_MIN, true)).toBe(MOUNT_WHOLE_BYTES_MAX)
    expect(read(MOUNT_LARGE_READ_BYTES_MIN, false)).toBe(MOUNT_READ_AHEAD_BYTES_MIN)
    expect(read(MOUNT_LARGE_READ_BYTES_MIN - 4_096, true)).toBe(MOUNT_READ_AHEAD_BYTES_MIN)
  })

  test('what could not be begun is said again, so that no hole is left', () => {
    const ahead = new ReadAhead()
    const next = (start: number) => ahead.next(7, { start, end: start + 128 * KiB }, 1024 * MiB)!
    next(0)
    const said = next(128 * KiB)
    const begun = said.start + 256 * KiB
    ahead.reached(7, begun)
    expect(next(256 * KiB).start).toBe(begun)
    ahead.reached(7, 1024 * MiB)
    expect(next(384 * KiB).start).toBeLessThan(64 * MiB)
    ahead.reached(8, 0) // forgotten meanwhile
  })

  test('large reads of a distant file bring as much again, and never more than they asked for', () => {
    const ahead = new ReadAhead()
    const size = 64 * MiB
    let asked = 0
    let fetched = 0
    const read = (start: number, bytes: number) => {
      const range = { start, end: start + bytes }
      ahead.next(7, range, size)
      asked += bytes
      const beside = ahead.beside(7, range, size)
      if (!beside) return undefined
      fetched += beside.end - beside.start
      expect(beside.start).toBe(range.end)
      expect(fetched).toBeLessThanOrEqual(asked)
      return beside.end
    }
    expect(read(0, 4096)).toBeUndefined()
    expect(read(10 * MiB, MiB)).toBe(12 * MiB)
    expect(read(30 * MiB, MiB)).toBe(32 * MiB)
    expect(read(63 * MiB, MiB)).toBeUndefined()
    // What was not fetched behind the end is fetched elsewhere.
    expect(read(20 * MiB, MiB)).toBe(23 * MiB)
    for (let start = 0; start < 60 * MiB; start += 5 * MiB) read(start, 512 * 1024)
  })

  test('may say what is worth it in steps, and what is left at the end', () => {
    const ahead = new ReadAhead({ bytesMax: MiB, stepBytes: MiB / 2 })
    const size = 3 * MiB + 7
    const said: number[] = []
    for (let start = 0; start < size; start += 128 * KiB) {
      const range = ahead.next(7, { start, end: Math.min(start + 128 * KiB, size) }, size)
      if (range) said.push(range.start, range.end)
    }
    const steps = said.filter((_, i) => i % 2 === 1).map((end, i) => end - said[i * 2]!)
    expect(steps.slice(0, -1).every((bytes) => bytes >= MiB / 2 && bytes <= MiB)).toBe(true)
    expect(said.slice(1, -1).every((at, i) => i % 2 === 1 || said[i + 2] === at)).toBe(true)
    expect(said.at(-1)).toBe(size)
  })

  test('remembers a bounded number of files', () => {
    const ahead = new ReadAhead()
    for (let inode = 2; inode < 5000; inode++) ahead.next(inode, { start: 0, end: 10 }, 100)
    expect(ahead.files).toBe(MOUNT_READ_AHEAD_FILES_MAX)
    ahead.forget(4999)
    expect(ahead.files).toBe(MOUNT_READ_AHEAD_FILES_MAX - 1)
  })
})
