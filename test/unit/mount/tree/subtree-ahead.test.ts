import { expect, test } from 'vitest'
import type { Node } from '../../../../src/model/castore/node.ts'
import type { CastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import { SUBTREE_FAR_MS, SUBTREE_LATENCY_MS } from '../../../../src/support/limits.ts'
import { FakeStore, list, walk } from '../../../support/trees.ts'

const WIDTH = 30

/** A store path with 30 directories of 30 directories, over a source that takes `ms` for each answer. */
function farStore(ms: number): { store: FakeStore; tree: CastoreTree } {
  const store = new FakeStore()
  const many = (make: (n: number) => Node) =>
    store.directory(Object.fromEntries(Array.from({ length: WIDTH }, (_, n) => [`d${n}`, make(n)])))
  store.rootNodes.add(
    '1-a',
    many((n) => many((m) => store.directory({ file: store.file(`${n} ${m}`) }))),
  )
  let now = 0
  store.directories.onRequest = () => {
    now += ms
  }
  return { store, tree: store.tree({ now: () => now }) }
}

async function walkAll(tree: CastoreTree): Promise<void> {
  for (let n = 0; n < WIDTH; n++)
    for (let m = 0; m < WIDTH; m++) await list(tree, (await walk(tree, `1-a/d${n}/d${m}`)).inode, 100)
}

test('a walk over a network asks for whole subtrees', async () => {
  const { store, tree } = farStore(20)
  await walkAll(tree)
  expect(store.directories.recursiveRequests).toBeLessThan(WIDTH / 2)
  expect(store.directories.requests).toBeLessThan(2 * WIDTH)
  expect(tree.stats.subtrees.fetched).toBe(store.directories.recursiveRequests)
})

test('a walk over a source on this machine asks for directories one by one', async () => {
  const { store, tree } = farStore(SUBTREE_LATENCY_MS / 2)
  await walkAll(tree)
  expect(store.directories.recursiveRequests).toBe(0)
  expect(store.directories.requests).toBe(1 + WIDTH + WIDTH * WIDTH)
})

test('one path asks for the directories on it, and over a long way for all of them at once', async () => {
  const near = farStore(SUBTREE_FAR_MS / 2)
  await list(near.tree, (await walk(near.tree, '1-a/d3/d4')).inode, 100)
  expect([near.store.directories.requests, near.store.directories.recursiveRequests]).toEqual([3, 0])
  const far = farStore(20)
  await list(far.tree, (await walk(far.tree, '1-a/d3/d4')).inode, 100)
  expect(far.store.directories.recursiveRequests).toBe(1)
  far.store.rootNodes.add(
    '1-b',
    far.store.directory({ sub: far.store.directory({ other: far.store.directory({}) }) }),
  )
  await walk(far.tree, '1-b')
  await expect.poll(() => far.tree.stats.subtrees.fetched).toBe(2)
  const before = far.store.directories.requests
  await list(far.tree, (await walk(far.tree, '1-b/sub/other')).inode, 100)
  expect(far.store.directories.requests).toBe(before)
})

test('a subtree that cannot be had is no failure of the walk', async () => {
  const { store, tree } = farStore(20)
  store.directories.getRecursive = () => {
    throw new Error('not to be had')
  }
  await walkAll(tree)
  expect(tree.stats.subtrees.failed).toBeGreaterThan(0)
  expect(store.directories.requests).toBe(1 + WIDTH + WIDTH * WIDTH)
})
