import { describe, expect, test } from 'vitest'
import type { Node } from '../../../../src/model/castore/node.ts'
import type { CastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import type { InodeNumber } from '../../../../src/mount/tree/interface.ts'
import { nativeTree } from '../../../../src/mount/tree/native-tree.ts'
import { FakeStore, list, PageSink, walk } from '../../../support/trees.ts'

/** A tree over a database of this machine; what was read from it and what was prepared, in order. */
function localTree(root: (store: FakeStore, named: (name: string, node: Node) => Node) => Node) {
  const store = new FakeStore()
  const names = new Map<string, string>()
  const reads: string[] = []
  const prepared: InodeNumber[] = []
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
  const ahead = tree.listAhead!({ prepare: (inode) => void prepared.push(inode) })
  return { tree, reads, prepared, ahead, directories: store.directories }
}

/** As the kernel is answered: what the listing leads to is read when it has been given out. */
async function listAndGive(tree: CastoreTree, path: string): Promise<InodeNumber> {
  const { inode } = await walk(tree, path)
  await tree.readdir(inode, 0, new PageSink(100), true)
  while (tree.answered?.());
  return inode
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

  test('that goes on in order finds each directory read and prepared, and each is read once', async () => {
    const { tree, reads, prepared, ahead } = deep()
    await listAndGive(tree, '1-a')
    expect(reads).toEqual(['1-a'])
    expect(ahead.isWalk).toBe(false)
    const afterwards: [string, string[]][] = [
      // As expected for the first time: from here on what follows is read.
      ['1-a/a', ['1-a', 'a', 'a/x']],
      ['1-a/a/x', ['1-a', 'a', 'a/x', 'b']],
      ['1-a/b', ['1-a', 'a', 'a/x', 'b', 'b/y']],
      ['1-a/b/y', ['1-a', 'a', 'a/x', 'b', 'b/y', 'c']],
      ['1-a/c', ['1-a', 'a', 'a/x', 'b', 'b/y', 'c']],
    ]
    for (const [path, expected] of afterwards) {
      const expectedInode = prepared.at(-1)
      const inode = await listAndGive(tree, path)
      expect([path, reads, ahead.isWalk]).toEqual([path, expected, path !== '1-a/c'])
      expect(prepared).toContain(inode)
      if (path !== '1-a/a') expect(expectedInode).toBe(inode)
    }
    expect(tree.stats.directories.fetched).toBe(6)
    expect(tree.stats.directories.failed).toBe(0)
  })

  test('that jumps about reads nothing but what it asks for', async () => {
    const { tree, reads, ahead } = deep()
    for (const path of ['1-a', '1-a/c', '1-a/b', '1-a/a']) {
      await listAndGive(tree, path)
      expect(ahead.isWalk).toBe(false)
    }
    expect(reads).toEqual(['1-a', 'c', 'b', 'a'])
  })

  test('finds what is damaged where it is, not before', async () => {
    const { tree, directories } = deep()
    await listAndGive(tree, '1-a')
    const { inode: y } = await walk(tree, '1-a/b/y')
    await listAndGive(tree, '1-a/a')
    directories.contents.clear()
    // What comes next is gone, which is the business of who asks for it.
    await listAndGive(tree, '1-a/a/x')
    await expect(list(tree, y, 100)).rejects.toThrow(/missing|not there|has no/)
  })

  test('that is recorded is not answered ahead', async () => {
    const { prepared } = deep()
    const store = new FakeStore()
    store.rootNodes.add('1-a', store.directory({ f: store.file('f') }))
    const tree = store.tree({ recorder: { listed: () => {}, read: () => {} } as never })
    tree.listAhead?.({ prepare: (inode) => void prepared.push(inode) })
    await listAndGive(tree, '1-a')
    expect(prepared).toEqual([])
  })
})

test.skipIf(!nativeTree())(
  'the addon names the directory after each that the kernel knows, and none after the last',
  async () => {
    const store = new FakeStore()
    const [one, two] = [store.directory({}), store.directory({ f: store.file('f') })]
    const node = store.directory({
      a: store.file('a'),
      b: one,
      c: store.file('c'),
      d: two,
      e: store.file('e'),
    })
    if (node.kind !== 'directory') throw new Error()
    store.rootNodes.add('1-a', node)
    const tree = store.tree()
    const { tables } = tree.listAhead!({ prepare: () => {} })
    const { inode } = await walk(tree, '1-a')
    const { encoded, digest } = store.directories.contents.get(node.digest.key)!
    const native = nativeTree()!
    const index = native.openDirectory(encoded, digest.bytes)!
    const after = (position: number) => native.directoryAfter(tables, encoded, index, inode, position)
    expect(after(-1)).toBe(0)
    const inodes = [(await walk(tree, '1-a/b')).inode, (await walk(tree, '1-a/d')).inode]
    expect([after(-1), after(1)]).toEqual(inodes)
    for (const position of [3, 0, 2, 4, 5, 2 ** 31 - 1]) expect(after(position)).toBe(0)
    expect(native.directoryAfter(tables, encoded.slice(1), index, inode, 3)).toBe(0)
    expect(native.directoryAfter(tables, new Uint8Array(0), new Uint32Array(0), inode, -1)).toBe(0)
    expect(native.directoryAfter(tables, encoded, index, 2 ** 40, -1)).toBeUndefined()
  },
)
