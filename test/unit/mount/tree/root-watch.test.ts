/** Store paths that go or become others while the kernel holds them. */
import { expect, test } from 'vitest'
import type { Node } from '../../../../src/model/castore/node.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { FakeStore, isMissing, list, readAll, walk } from '../../../support/trees.ts'

/** A tree over one store path with one file in it, that the kernel has looked up; and what it was told of. */
async function watched() {
  const store = new FakeStore()
  const path = store.directory({ file: store.file('before') })
  store.rootNodes.add('1-a', path)
  const tree = store.tree()
  const gone: string[] = []
  tree.onRootChange?.((name) => gone.push(Buffer.from(name).toString()))
  const folder = await walk(tree, '1-a')
  const file = await walk(tree, '1-a/file')
  const become = (node: Node | undefined) => {
    store.rootNodes.entries.length = 0
    if (node) store.rootNodes.add('1-a', node)
  }
  return { store, tree, gone, folder, file, path, become }
}

const lookup = (tree: Awaited<ReturnType<typeof watched>>['tree'], name: string) =>
  tree.lookup(1, Buffer.from(name))

test('a path that is gone is told of and looked up anew, and what is open reads on', async () => {
  const { tree, gone, folder, file, become } = await watched()
  become(undefined)
  await tree.checkRoot()
  expect(gone).toEqual(['1-a'])
  expect(isMissing(await lookup(tree, '1-a'))).toBe(true)
  expect((await readAll(tree, file.inode, 0, 100)).toString()).toBe('before')
  expect((await list(tree, folder.inode, 10)).map(({ name }) => name)).toEqual(['file'])
  await tree.checkRoot()
  expect(gone).toHaveLength(1)
})

test('a path with other contents is told of, and is what it is now', async () => {
  const { store, tree, gone, folder, become } = await watched()
  become(store.directory({ file: store.file('after') }))
  await tree.checkRoot()
  expect(gone).toEqual(['1-a'])
  const after = await walk(tree, '1-a')
  expect(after.inode).not.toBe(folder.inode)
  expect((await readAll(tree, (await walk(tree, '1-a/file')).inode, 0, 100)).toString()).toBe('after')
})

test('(negative control) a path that is as it was, or of which nobody knows, stays', async () => {
  const { store, tree, gone, folder, path, become } = await watched()
  become(path)
  await tree.checkRoot()
  become(undefined)
  store.rootNodes.failure = new StoreError('unavailable', 'away')
  await tree.checkRoot()
  expect(gone).toEqual([])
  expect(await lookup(tree, '1-a')).toMatchObject({ inode: folder.inode })
})

test('files and links at the root are compared, too', async () => {
  const store = new FakeStore()
  store.rootNodes.add('1-file', store.file('one'))
  store.rootNodes.add('2-run', store.file('two', true))
  store.rootNodes.add('3-link', store.symlink('target'))
  const tree = store.tree()
  const gone: string[] = []
  tree.onRootChange?.((name) => gone.push(Buffer.from(name).toString()))
  for (const name of ['1-file', '2-run', '3-link']) await lookup(tree, name)
  await tree.checkRoot()
  expect(gone).toEqual([])
  store.rootNodes.entries.length = 0
  store.rootNodes.add('1-file', store.file('one', true))
  store.rootNodes.add('2-run', store.file('three', true))
  store.rootNodes.add('3-link', store.symlink('elsewhere'))
  await tree.checkRoot()
  expect(gone.sort()).toEqual(['1-file', '2-run', '3-link'])
})

test('a listing leaves out what is gone, without moving what comes behind it', async () => {
  const store = new FakeStore()
  for (const name of ['1-a', '2-b', '3-c']) store.rootNodes.add(name, store.file(name))
  const tree = store.tree({ negativeMs: 0 })
  const names = async (cookie = 0) => (await list(tree, 1, 10, cookie)).map(({ name }) => name)
  expect(await names()).toEqual(['1-a', '2-b', '3-c'])
  store.rootNodes.entries.splice(1, 1)
  await names() // asks again, while what is known is handed out
  await expect.poll(() => names()).toEqual(['1-a', '3-c'])
  expect(await names(1)).toEqual(['3-c'])
  // A listing that breaks off says nothing about what is gone.
  store.rootNodes.entries.length = 0
  store.rootNodes.failure = new StoreError('unavailable', 'away')
  await names().catch(() => {})
  store.rootNodes.failure = undefined
  for (const name of ['1-a', '3-c']) store.rootNodes.add(name, store.file(name))
  expect(await names()).toEqual(['1-a', '3-c'])
  // Both are where they were.
  expect(await names(1)).toEqual(['3-c'])
})
