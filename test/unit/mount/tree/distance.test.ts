import { describe, expect, test } from 'vitest'
import { SourceDistance } from '../../../../src/mount/tree/source-distance.ts'
import { MOUNT_FAR_MS, SIBLINGS_MISSES_ENOUGH } from '../../../../src/support/limits.ts'
import { FakeStore, list, readAll, walk } from '../../../support/trees.ts'

describe('how far a source is', () => {
  test('is not known before anything was fetched', () => {
    const distance = new SourceDistance()
    expect([distance.isFar, distance.bytesPerRoundTrip]).toEqual([false, 0])
  })

  test('is told by the fastest answer, however busy it is now', () => {
    const distance = new SourceDistance()
    for (const ms of [80, 0.5, 90]) distance.fetched(1000, ms)
    expect(distance.isFar).toBe(false)
  })

  test('is a round trip, and what comes in the time of one', () => {
    const distance = new SourceDistance()
    distance.fetched(100, 20)
    distance.fetched(300_000, 24)
    expect(distance.isFar).toBe(true)
    expect(distance.bytesPerRoundTrip).toBeCloseTo((300_000 / 4) * 20)
    const slow = new SourceDistance()
    slow.fetched(100, 20)
    slow.fetched(300_000, 2420)
    expect(slow.bytesPerRoundTrip).toBeCloseTo(2500)
  })

  test('is forgotten: a source that came nearer is near', () => {
    const distance = new SourceDistance()
    for (let i = 0; i < 20; i++) distance.fetched(1000, MOUNT_FAR_MS + 1)
    expect(distance.isFar).toBe(true)
    distance.fetched(1000, MOUNT_FAR_MS / 2)
    expect(distance.isFar).toBe(false)
  })
})

describe('small files of a distant directory', () => {
  const NAMES = Array.from({ length: 20 }, (_, n) => `header${n}.h`)

  /** Files in one directory of a store path, whose contents take `ms` to come. */
  async function headers(ms: number) {
    const store = new FakeStore()
    const files = Object.fromEntries(NAMES.map((name) => [name, store.file(`contents of ${name}`)]))
    store.rootNodes.add('1-headers', store.directory({ include: store.directory(files) }))
    let now = 0
    store.blobs.onRead = () => {
      now += ms
    }
    const tree = store.tree({ now: () => now })
    await list(tree, (await walk(tree, '1-headers')).inode, 100)
    const get = async (name: string) => {
      const { inode } = await walk(tree, `1-headers/include/${name}`)
      return (await readAll(tree, inode, 0, 100)).toString()
    }
    return { store, tree, get }
  }

  test('are fetched together once several of them had to be fetched one by one', async () => {
    const { store, tree, get } = await headers(2 * MOUNT_FAR_MS)
    // The first tells how far it is.
    for (const n of Array.from({ length: SIBLINGS_MISSES_ENOUGH + 1 }, (_, i) => (i * 7) % 20))
      await get(NAMES[n]!)
    await expect.poll(() => store.blobs.readRequests).toBe(NAMES.length)
    await expect.poll(() => tree.usage.chunkBytes).toBeGreaterThan(NAMES.length * 20)
    for (const name of NAMES) expect(await get(name)).toBe(`contents of ${name}`)
    expect(store.blobs.readRequests).toBe(NAMES.length)
  })

  test('(negative control) are not when the source is near', async () => {
    const { store, get } = await headers(0)
    for (let n = 0; n < 10; n++) await get(NAMES[n]!)
    expect(store.blobs.readRequests).toBe(10)
  })
})
