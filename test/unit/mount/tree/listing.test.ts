import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CastoreTreeOptions } from '../../../../src/mount/tree/castore-tree.ts'
import type { EntrySink, Tree } from '../../../../src/mount/tree/interface.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { ROOT_HOLES_MAX } from '../../../../src/support/limits.ts'
import { FakeStore, type Listed, list, PageSink, walk } from '../../../support/trees.ts'

const name = (n: number) => `e-${String(n).padStart(5, '0')}`
const namesOf = (listed: readonly Listed[]) => listed.map((entry) => entry.name)

function storeWith(count: number): { store: FakeStore; names: string[] } {
  const store = new FakeStore()
  const names = Array.from({ length: count }, (_, n) => name(n))
  const kinds = [store.file('f'), store.symlink('l'), store.directory({}), store.file('x', true)]
  const entries = Object.fromEntries(names.map((entry, n) => [entry, kinds[n % 4]!]))
  for (const [entry, node] of Object.entries(entries)) store.rootNodes.add(entry, node)
  store.rootNodes.add('dir-all', store.directory(entries))
  return { store, names }
}

/** The root as if it were any directory: its names less the one that holds them all. */
const PLACES = [
  { place: 'a directory', open: async (tree: Tree) => (await walk(tree, 'dir-all')).inode, extra: [] },
  { place: 'the root', open: async () => 1, extra: ['dir-all'] },
]

async function expectWholeListing(tree: Tree, inode: number, room: number, names: string[]): Promise<void> {
  expect(namesOf(await list(tree, inode, room))).toEqual(names)
}

describe.each(PLACES)('listing $place', ({ open, extra }) => {
  test.each([0, 1, 2, 1000])('of %i entries loses and repeats nothing, whatever the page', async (count) => {
    const { store, names } = storeWith(count)
    const tree = store.tree()
    const inode = await open(tree)
    for (const room of [1, 2, 3, 7, 999, 1000, 1001, 5000])
      await expectWholeListing(tree, inode, room, [...names, ...extra])
  })

  test('goes on from any cookie that was ever handed out', async () => {
    const { store, names } = storeWith(100)
    const tree = store.tree()
    const inode = await open(tree)
    const all = await list(tree, inode, 9)
    const positions = fc.array(
      fc.record({ at: fc.nat(all.length - 1), room: fc.integer({ min: 1, max: 30 }) }),
    )
    await fc.assert(
      fc.asyncProperty(positions, async (seeks) => {
        for (const { at, room } of seeks) {
          const sink = new PageSink(room)
          await tree.readdir(inode, all[at]!.cookie, sink, false)
          expect(namesOf(sink.taken)).toEqual([...names, ...extra].slice(at + 1, at + 1 + room))
        }
      }),
    )
  })

  test('an entry that the sink refused holds no reference and leaves no inode', async () => {
    const { store } = storeWith(20)
    const tree = store.tree()
    const inode = await open(tree)
    await list(tree, inode, 100)
    const before = tree.usage.inodes
    await tree.readdir(inode, 0, new PageSink(0), true)
    expect(tree.usage.inodes).toBe(before)
    const sink = new PageSink(4)
    await tree.readdir(inode, 0, sink, true)
    expect(sink.taken).toHaveLength(4)
    for (const { entry } of sink.taken) tree.forget(entry.inode, 1)
    expect(tree.usage.inodes).toBe(before)
  })

  test('control: a listing that skips what did not fit is found out', async () => {
    const { store, names } = storeWith(20)
    const tree = store.tree()
    const inode = await open(tree)
    const lossy: Tree = Object.create(tree, {
      readdir: {
        value: (at: number, cookie: number, sink: EntrySink, remember: boolean) =>
          tree.readdir(at, cookie, { add: (n, entry, next) => sink.add(n, entry, next + 1) }, remember),
      },
    })
    await expect(expectWholeListing(lossy, inode, 3, [...names, ...extra])).rejects.toThrow()
  })
})

describe('the root', () => {
  test('lists a store in which paths come and go for as long as it is mounted', async () => {
    const { store } = storeWith(0)
    for (let n = 0; n < 4; n++) store.rootNodes.add(name(n), store.file('f'))
    // One place more than there are paths: a new one is known before the old one is gone.
    const tree = store.tree({ limits: { rootNamesMax: 6 }, negativeMs: 0 })
    const half = new PageSink(2)
    await tree.readdir(1, 0, half, false)
    await list(tree, 1, 100)
    for (let n = 4; n < 3 * ROOT_HOLES_MAX; n++) {
      // The first one stays.
      store.rootNodes.entries.splice(1, 1)
      store.rootNodes.add(name(n), store.file('f'))
      await list(tree, 1, 100)
    }
    const there = store.rootNodes.entries.map((entry) => Buffer.from(entry.name).toString())
    expect(new Set(namesOf(await list(tree, 1, 100)))).toEqual(new Set(there))
    // Who began long ago, too, misses nothing that was there all the time.
    const rest = new PageSink(100)
    await tree.readdir(1, half.taken.at(-1)!.cookie, rest, false)
    expect(namesOf(rest.taken)).toEqual(expect.arrayContaining(there.filter((each) => each !== 'dir-all')))
  })

  test('is not listed unless asked for, and then nobody is asked', async () => {
    const { store } = storeWith(3)
    const tree = store.tree({ listRoot: false })
    expect(() => tree.readdir(1, 0, new PageSink(9), true)).toThrow('EPERM')
    expect(store.rootNodes.lists).toBe(0)
    expect((await walk(tree, name(1))).attributes.kind).toBe('symlink')
  })

  function treeWithClock(store: FakeStore, options: Partial<CastoreTreeOptions> = {}) {
    let time = 0
    const pass = (ms: number) => {
      time += ms
    }
    const tree = store.tree({ negativeMs: 1000, now: () => time, ...options })
    return { tree, pass }
  }

  test('is asked for again when a listing starts later than a second after the last', async () => {
    const { store, names } = storeWith(3)
    const { tree, pass } = treeWithClock(store)
    await list(tree, 1, 2)
    store.rootNodes.add('new-path', store.file('new'))
    pass(999)
    expect(namesOf(await list(tree, 1, 2))).toEqual([...names, 'dir-all'])
    pass(1)
    expect(namesOf(await list(tree, 1, 2))).toEqual([...names, 'dir-all', 'new-path'])
    expect(store.rootNodes.lists).toBe(2)
    expect(tree.stats.rootListings).toMatchObject({ asked: 3, cached: 1, fetched: 2 })
  })

  test('keeps every position when the source changes its order', async () => {
    const { store } = storeWith(5)
    const { tree, pass } = treeWithClock(store)
    const before = await list(tree, 1, 2)
    store.rootNodes.entries.reverse()
    pass(5000)
    expect(await list(tree, 1, 2)).toEqual(before)
  })

  test('shows what has arrived before the rest has, and many readers share one listing', async () => {
    const { store } = storeWith(3)
    const [early, late] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    store.rootNodes.list = async function* () {
      store.rootNodes.lists++
      await early.promise
      yield store.rootNodes.entries[0]!
      await late.promise
      yield* store.rootNodes.entries.slice(1)
    }
    const tree = store.tree()
    const first = new PageSink(10)
    const listing = tree.readdir(1, 0, first, false)
    const second = new PageSink(10)
    const joining = tree.readdir(1, 0, second, false)
    early.resolve()
    await Promise.all([listing, joining])
    expect([namesOf(first.taken), namesOf(second.taken)]).toEqual([[name(0)], [name(0)]])
    const rest = new PageSink(10)
    const waiting = tree.readdir(1, 1, rest, false)
    late.resolve()
    await waiting
    expect(namesOf(rest.taken)).toEqual([name(1), name(2), 'dir-all'])
    expect(store.rootNodes.lists).toBe(1)
  })

  test('a source that fails half-way never makes a short listing look complete', async () => {
    const { store, names } = storeWith(3)
    const complete = store.rootNodes.list
    store.rootNodes.list = async function* () {
      yield this.entries[0]!
      throw new StoreError('unavailable', 'connection lost')
    }
    const tree = store.tree()
    await expect(list(tree, 1, 10)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('paths.test'),
    })
    store.rootNodes.list = complete
    expect(namesOf(await list(tree, 1, 10))).toEqual([...names, 'dir-all'])
    expect(tree.stats.rootListings).toMatchObject({ fetched: 2, failed: 1 })
  })

  test('one who leaves while waiting disturbs nobody', async () => {
    const { store } = storeWith(3)
    store.rootNodes.hold()
    const tree = store.tree()
    const leaving = new AbortController()
    const left = tree.readdir(1, 0, new PageSink(9), false, leaving)
    const sink = new PageSink(9)
    const staying = tree.readdir(1, 0, sink, false)
    leaving.abort()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    store.rootNodes.open()
    await staying
    expect(sink.taken.length).toBeGreaterThan(0)
  })

  test('more names than the limit are refused, the names before can be listed', async () => {
    const { store } = storeWith(10)
    const tree = store.tree({ limits: { rootNamesMax: 5 } })
    await expect(list(tree, 1, 100)).rejects.toMatchObject({ code: 'exhausted' })
    const exact = storeWith(4).store.tree({ limits: { rootNamesMax: 5 } })
    expect(await list(exact, 1, 100)).toHaveLength(5)
  })

  test('closing ends the listing that runs in the background', async () => {
    const { store } = storeWith(3)
    store.rootNodes.hold()
    const tree = store.tree()
    const listing = tree.readdir(1, 0, new PageSink(9), false)
    await new Promise(setImmediate)
    tree.close()
    await expect(listing).rejects.toMatchObject({ code: 'cancelled' })
    expect(store.rootNodes.aborted).toBe(1)
  })
})
