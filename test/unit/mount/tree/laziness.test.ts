import { describe, expect, test } from 'vitest'
import type { CastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import { formatMountStats, mountStatsJson } from '../../../../src/mount/tree/stats.ts'
import type { RootNodes } from '../../../../src/services/pathinfos/root-nodes.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { FakeStore, list, PageSink, readAll, walk } from '../../../support/trees.ts'

const MiB = 1024 * 1024

function store(): FakeStore {
  const fake = new FakeStore()
  const shared = fake.directory({ deep: fake.directory({ file: fake.file('deep') }) })
  const siblings = Object.fromEntries(
    Array.from({ length: 50 }, (_, n) => [
      `dir${n}`,
      fake.directory({ [`file${n}`]: fake.file(`contents ${n}`) }),
    ]),
  )
  fake.rootNodes.add('1-a', fake.directory({ shared, ...siblings }))
  fake.rootNodes.add('2-b', fake.directory({ shared }))
  return fake
}

async function find(tree: CastoreTree, inode: number, path: string): Promise<number> {
  let files = 0
  for (const { name, entry } of await list(tree, inode, 7))
    if (entry.attributes.kind === 'directory') {
      const below = `${path}/${name}`
      files += await find(tree, (await walk(tree, below.slice(1))).inode, below)
    } else files++
  return files
}

describe('nothing is fetched before it is needed', () => {
  test('stat of a store path asks for its path info, and for nothing else', async () => {
    const fake = store()
    await walk(fake.tree(), '1-a')
    expect([fake.rootNodes.requests, fake.directories.requests, fake.blobs.readRequests]).toEqual([1, 0, 0])
  })

  test('reading one file fetches the directories on its path and that file', async () => {
    const fake = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/dir7/file7')
    expect([fake.directories.requests, fake.blobs.readRequests]).toEqual([2, 0])
    expect((await readAll(tree, inode, 0, 100)).toString()).toBe('contents 7')
    expect([fake.rootNodes.requests, fake.directories.requests, fake.blobs.readRequests]).toEqual([1, 2, 1])
    expect(fake.blobs.chunkRequests).toBe(0)
    expect(fake.blobs.readBytes).toBe(10)
  })

  test('walking everything fetches each directory once and no blob', async () => {
    const fake = store()
    const tree = fake.tree()
    expect(await find(tree, 1, '')).toBe(52)
    expect(fake.directories.requests).toBe(fake.directories.contents.size)
    expect([fake.blobs.readRequests, fake.blobs.chunkRequests]).toEqual([0, 0])
  })

  test('what is in memory is answered without a promise', async () => {
    const fake = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/dir7/file7')
    await tree.read(inode, 0, 10)
    const root = tree.lookup(1, utf8('1-a'))
    expect(root).not.toBeInstanceOf(Promise)
    expect(tree.lookup(((await root) as { inode: number }).inode, utf8('dir3'))).not.toBeInstanceOf(Promise)
    expect(tree.read(inode, 0, 10)).not.toBeInstanceOf(Promise)
    expect(tree.read(inode, 4, 3)).toEqual([new Uint8Array(utf8('ent'))])
  })

  test.each([
    ['small', 10],
    ['large', 3 * MiB],
  ])('10,000 readers of one missing %s blob cause one fetch', async (_, size) => {
    const fake = new FakeStore()
    const contents = Buffer.alloc(size, 7)
    fake.rootNodes.add('1-f', fake.file(contents.toString()))
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-f')
    fake.blobs.hold()
    const readers = Array.from({ length: 10_000 }, (_, i) => readAll(tree, inode, i % size, 4096))
    fake.blobs.open()
    for (const [i, bytes] of (await Promise.all(readers)).entries())
      expect(bytes.equals(contents.subarray(i % size, (i % size) + 4096))).toBe(true)
    expect(fake.blobs.readRequests).toBe(1)
    expect(fake.blobs.chunkRequests).toBeLessThanOrEqual(1)
  })

  test('10,000 readers of a blob that its store lost cause one fetch, and all are told', async () => {
    const fake = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/dir7/file7')
    fake.blobs.contents.clear()
    fake.blobs.hold()
    const readers = Array.from({ length: 10_000 }, () => readAll(tree, inode, 0, 10))
    fake.blobs.open()
    for (const { status } of await Promise.allSettled(readers)) expect(status).toBe('rejected')
    expect(fake.blobs.readRequests).toBe(1)
  })

  test('names that cannot exist and empty files ask nobody', async () => {
    const fake = store()
    fake.rootNodes.add('3-empty', fake.file(''))
    const tree = fake.tree()
    for (const name of ['nodash', '.', '..', '.Trash', ''])
      expect(await tree.lookup(1, utf8(name))).toEqual({ missing: true, forever: true })
    expect(fake.rootNodes.requests).toBe(0)
    expect(await tree.read((await walk(tree, '3-empty')).inode, 0, 4096)).toEqual([])
    expect([fake.blobs.readRequests, fake.blobs.chunkRequests]).toEqual([0, 0])
  })

  test('4 KiB of a blob of 1 GiB moves one chunk and one list, or two chunks across an edge', async () => {
    const fake = store()
    const big = fake.blobs.addSynthetic('big', MiB / 4, 4096)
    fake.rootNodes.add('3-big', { kind: 'file', ...big, size: BigInt(big.size), executable: false })
    const tree = fake.tree()
    const { inode } = await walk(tree, '3-big')
    const bytes = await readAll(tree, inode, 700 * MiB + 4096, 4096)
    expect(bytes.equals(Buffer.from(Uint8Array.from({ length: 4096 }, (_, i) => 2800 + i)))).toBe(true)
    expect([fake.blobs.chunkRequests, fake.blobs.readRequests]).toEqual([1, 1])
    await readAll(tree, inode, 300 * MiB - 2048, 4096)
    expect([fake.blobs.chunkRequests, fake.blobs.readRequests]).toEqual([1, 3])
    expect(tree.stats.chunks).toMatchObject({ asked: 3, fetched: 3, fetchedBytes: 3 * (MiB / 4) })
    expect(tree.stats.chunkLists).toMatchObject({ asked: 2, fetched: 1, cached: 1 })
  })
})

describe('small files of a directory that is read in order', () => {
  function wide(): { fake: FakeStore; names: string[] } {
    const fake = new FakeStore()
    const names = Array.from({ length: 50 }, (_, n) => `f${String(n).padStart(2, '0')}`)
    fake.rootNodes.add(
      '1-a',
      fake.directory(Object.fromEntries(names.map((name) => [name, fake.file(name)]))),
    )
    return { fake, names }
  }

  async function readFiles(tree: CastoreTree, names: readonly string[]): Promise<string[]> {
    const read: string[] = []
    for (const name of names)
      read.push((await readAll(tree, (await walk(tree, `1-a/${name}`)).inode, 0, 100)).toString())
    return read
  }

  async function listed(tree: CastoreTree): Promise<void> {
    await tree.readdir((await walk(tree, '1-a')).inode, 0, new PageSink(1000), true)
  }

  test('come before they are asked for', async () => {
    const { fake, names } = wide()
    const tree = fake.tree()
    await listed(tree)
    await readFiles(tree, names.slice(0, 4))
    await expect.poll(() => fake.blobs.readRequests).toBe(50)
    expect(await readFiles(tree, names)).toEqual(names)
    expect(fake.blobs.readRequests).toBe(50)
  })

  test('do not when they are read in another order, or were never listed', async () => {
    const { fake, names } = wide()
    const tree = fake.tree()
    await readFiles(tree, names.slice(0, 10))
    await listed(tree)
    await readFiles(tree, [...names].reverse().slice(0, 10))
    expect(fake.blobs.readRequests).toBe(20)
    expect(tree.stats.readAhead.fetched).toBe(0)
  })
})

describe('joining', () => {
  test('a thousand readers of one chunk cause one fetch', async () => {
    const fake = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/dir7/file7')
    fake.blobs.hold()
    const reads = Array.from({ length: 1000 }, () => readAll(tree, inode, 0, 100))
    fake.blobs.open()
    for (const bytes of await Promise.all(reads)) expect(bytes.toString()).toBe('contents 7')
    expect(fake.blobs.readRequests).toBe(1)
    expect(tree.stats.chunks).toMatchObject({ asked: 1000, joined: 999, fetched: 1, cached: 0 })
  })

  test('so do a thousand lookups of one name, at the root and below', async () => {
    const fake = store()
    const tree = fake.tree()
    const many = (lookup: () => unknown) => Promise.all(Array.from({ length: 1000 }, lookup))
    const found = await many(() => tree.lookup(1, utf8('1-a')))
    const { inode } = found[0] as { inode: number }
    await many(() => tree.lookup(inode, utf8('dir7')))
    expect([fake.rootNodes.requests, fake.directories.requests]).toEqual([1, 1])
    tree.forget(inode, 999)
    expect(tree.getattr(inode).kind).toBe('directory')
    tree.forget(inode, 1)
    expect(() => tree.getattr(inode)).toThrow('ESTALE')
  })

  test('one who leaves disturbs nobody; when all have left the fetch ends', async () => {
    const fake = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/dir7/file7')
    fake.blobs.hold()
    const [one, two] = [new AbortController(), new AbortController()]
    const first = tree.read(inode, 0, 100, one) as Promise<readonly Uint8Array[]>
    const second = tree.read(inode, 0, 100, two) as Promise<readonly Uint8Array[]>
    one.abort()
    await expect(first).rejects.toMatchObject({ code: 'cancelled' })
    expect(fake.blobs.aborted).toBe(0)
    fake.blobs.open()
    expect(Buffer.concat(await second).toString()).toBe('contents 7')

    const other = (await walk(tree, '1-a/dir8/file8')).inode
    fake.blobs.hold()
    const alone = new AbortController()
    const reading = tree.read(other, 0, 100, alone) as Promise<readonly Uint8Array[]>
    await new Promise(setImmediate)
    alone.abort()
    await expect(reading).rejects.toMatchObject({ code: 'cancelled' })
    expect(fake.blobs.aborted).toBe(1)
    expect(tree.stats.chunks.failed).toBe(0)
  })
})

describe('the counts', () => {
  test('a store path of this machine is found on the spot, and asked for where it is not', async () => {
    const fake = store()
    const node = await fake.rootNodes.get(utf8('1-a'))
    fake.rootNodes.requests = 0
    const getNow = (name: Uint8Array) => (utf8('1-a').every((byte, i) => byte === name[i]) ? node : undefined)
    const rootNodes: RootNodes = {
      canExist: (name) => fake.rootNodes.canExist(name),
      get: (name, call) => fake.rootNodes.get(name, call),
      list: (call) => fake.rootNodes.list(call),
      getNow,
    }
    const tree = fake.tree({ rootNodes })
    expect(tree.lookup(1, utf8('1-a'))).toMatchObject({ attributes: { kind: 'directory' } })
    expect(fake.rootNodes.requests).toBe(0)
    expect(await tree.lookup(1, utf8('9-none'))).toMatchObject({ missing: true })
    expect(fake.rootNodes.requests).toBe(1)
    expect(tree.stats.rootLookups).toMatchObject({ asked: 2, fetched: 2 })
  })

  test('tell exactly what happened', async () => {
    const fake = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/dir7/file7')
    await walk(tree, '1-a/dir8')
    await readAll(tree, inode, 0, 100)
    await readAll(tree, inode, 0, 100)
    await tree.lookup(1, utf8('9-none'))
    const encoded = [...fake.directories.contents.values()].filter(
      (directory) =>
        [51, 1].includes(directory.entries.length) &&
        ['dir7', 'file7'].some((name) => directory.get(utf8(name))),
    )
    const bytes = encoded.reduce((sum, directory) => sum + directory.encoded.length, 0)
    expect(tree.stats).toMatchObject({
      rootLookups: { asked: 3, cached: 1, fetched: 2, failed: 0 },
      directories: { asked: 3, cached: 1, fetched: 2, fetchedBytes: bytes, failed: 0 },
      chunkLists: { asked: 0 },
      chunks: { asked: 2, cached: 1, cachedBytes: 10, fetched: 1, fetchedBytes: 10 },
    })
  })

  test('render as a table and as JSON', async () => {
    const fake = store()
    const tree = fake.tree()
    await readAll(tree, (await walk(tree, '1-a/dir7/file7')).inode, 0, 100)
    const lines = formatMountStats(tree.stats).split('\n')
    expect(lines).toHaveLength(9)
    expect(lines.find((line) => line.startsWith('chunks'))).toMatch(/^chunks +1 +0 +0 +0 +1 +10 +0$/)
    expect(new Set(lines.map((line) => line.length)).size).toBe(1)
    const before = mountStatsJson(tree.stats)
    expect(JSON.parse(JSON.stringify(before))).toEqual(tree.stats)
    await walk(tree, '2-b')
    expect(before.rootLookups.asked).toBe(1)
  })
})
