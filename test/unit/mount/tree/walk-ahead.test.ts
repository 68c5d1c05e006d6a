import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { Node } from '../../../../src/model/castore/node.ts'
import type { CastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import { nativeTree } from '../../../../src/mount/tree/native-tree.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { FakeStore, list, walk } from '../../../support/trees.ts'

/** A tree over a database of this machine, and the directories that were read from it, in order. */
function localTree(root: (store: FakeStore, named: (name: string, node: Node) => Node) => Node) {
  const store = new FakeStore()
  const names = new Map<string, string>()
  const reads: string[] = []
  const named = (name: string, node: Node): Node => {
    if (node.kind === 'directory') names.set(node.digest.key, name)
    return node
  }
  store.rootNodes.add('1-a', named('1-a', root(store, named)))
  const tree = store.tree({
    localDirectory: (digest) => {
      reads.push(names.get(digest.key) ?? '?')
      return store.directories.contents.get(digest.key)?.encoded
    },
  })
  return { tree, reads, directories: store.directories }
}

/** As the kernel is answered: what the listing leads to is read when it has been given out. */
async function listAndGive(tree: CastoreTree, path: string): Promise<void> {
  await list(tree, (await walk(tree, path)).inode, 100)
  tree.listingTaken?.()
}

describe.skipIf(!nativeTree())('a walk', () => {
  const deep = () =>
    localTree((store, named) =>
      store.directory({
        a: named('a', store.directory({ x: named('a/x', store.directory({ f: store.file('1') })) })),
        b: named('b', store.directory({ y: named('b/y', store.directory({ f: store.file('2') })) })),
        c: named('c', store.directory({ f: store.file('3') })),
        file: store.file('4'),
      }),
    )

  test('that goes on in order finds each directory read already, and each is read once', async () => {
    const { tree, reads } = deep()
    await listAndGive(tree, '1-a')
    expect(reads).toEqual(['1-a'])
    const afterwards: [string, string[]][] = [
      // As expected for the first time: from here on what follows is read.
      ['1-a/a', ['1-a', 'a', 'a/x']],
      ['1-a/a/x', ['1-a', 'a', 'a/x', 'b']],
      ['1-a/b', ['1-a', 'a', 'a/x', 'b', 'b/y']],
      ['1-a/b/y', ['1-a', 'a', 'a/x', 'b', 'b/y', 'c']],
      ['1-a/c', ['1-a', 'a', 'a/x', 'b', 'b/y', 'c']],
    ]
    for (const [path, expected] of afterwards) {
      await listAndGive(tree, path)
      expect([path, reads]).toEqual([path, expected])
    }
    expect(tree.stats.directories.fetched).toBe(6)
    expect(tree.stats.directories.failed).toBe(0)
  })

  test('that jumps about reads nothing but what it asks for', async () => {
    const { tree, reads } = deep()
    for (const path of ['1-a', '1-a/c', '1-a/b', '1-a/a']) await listAndGive(tree, path)
    expect(reads).toEqual(['1-a', 'c', 'b', 'a'])
  })

  test('finds what is damaged where it is, not before', async () => {
    const { tree, directories } = deep()
    await listAndGive(tree, '1-a')
    const y = (await walk(tree, '1-a/b/y')).inode
    await listAndGive(tree, '1-a/a')
    directories.contents.clear()
    // What comes next is gone, which is the business of who asks for it.
    await listAndGive(tree, '1-a/a/x')
    await expect(list(tree, y, 100)).rejects.toThrow(/missing|not there|has no/)
  })
})

test.skipIf(!nativeTree())('the addon names the directory after each, and none after the last', () => {
  const store = new FakeStore()
  const [one, two] = [store.directory({}), store.directory({ f: store.file('f') })]
  const node = store.directory({ a: store.file('a'), b: one, c: store.file('c'), d: two, e: store.file('e') })
  if (node.kind !== 'directory' || one.kind !== 'directory' || two.kind !== 'directory') throw new Error()
  const directory = store.directories.contents.get(node.digest.key)!
  const native = nativeTree()!
  const index = native.openDirectory(directory.encoded, directory.digest.bytes)!
  const digest = new Uint8Array(32)
  const after = (position: number) =>
    native.directoryAfter(directory.encoded, index, position, digest)
      ? Digest.fromBytes(digest.slice())
      : undefined
  expect(after(-1)?.equals(one.digest)).toBe(true)
  expect(after(1)?.equals(two.digest)).toBe(true)
  for (const position of [3, 0, 2, 4, 5, 2 ** 31 - 1]) expect(after(position)).toBeUndefined()
  expect(native.directoryAfter(utf8('nonsense'), index, 3, digest)).toBe(false)
  expect(native.directoryAfter(new Uint8Array(0), new Uint32Array(0), -1, digest)).toBe(false)
})
