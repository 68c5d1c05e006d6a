import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { FileNode } from '../../../../src/model/castore/node.ts'
import { InodeTable } from '../../../../src/mount/tree/inode-table.ts'
import type { InodeNumber, Tree } from '../../../../src/mount/tree/interface.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { FakeStore, isMissing, list, PageSink, walk } from '../../../support/trees.ts'

const STALE = expect.objectContaining({ code: 'ESTALE' })

function twins(): FakeStore {
  const store = new FakeStore()
  const bin = store.directory({ run: store.file('same', true), link: store.symlink('run') })
  store.rootNodes.add('1-a', store.directory({ bin, data: store.file('same'), big: store.file('other') }))
  store.rootNodes.add('2-b', store.directory({ bin, data: store.file('same'), big: store.file('other') }))
  store.rootNodes.add('3-c', store.file('same'))
  store.rootNodes.add('4-d', store.file('same'))
  return store
}

describe('one inode a content, one a place', () => {
  test('equal directories in two store paths stay apart', async () => {
    const tree = twins().tree()
    const [a, b] = [await walk(tree, '1-a'), await walk(tree, '2-b')]
    expect(a.inode).not.toBe(b.inode)
    expect(a.attributes.ino).not.toBe(b.attributes.ino)
    const [aBin, bBin] = [await walk(tree, '1-a/bin'), await walk(tree, '2-b/bin')]
    expect(aBin.inode).not.toBe(bBin.inode)
    expect(aBin.attributes.ino).not.toBe(bBin.attributes.ino)
  })

  test('one path is one inode, by lookup and by listing', async () => {
    const tree = twins().tree()
    const bin = await walk(tree, '1-a/bin')
    expect((await walk(tree, '1-a/bin')).inode).toBe(bin.inode)
    const sink = new PageSink(10)
    await tree.readdir((await walk(tree, '1-a')).inode, 0, sink, true)
    expect(sink.taken.find(({ name }) => name === 'bin')!.entry).toEqual(bin)
    const root = new PageSink(10)
    await list(tree, 1, 10)
    await tree.readdir(1, 0, root, true)
    expect(root.taken.map(({ entry }) => entry.inode)).toEqual([
      (await walk(tree, '1-a')).inode,
      (await walk(tree, '2-b')).inode,
      (await walk(tree, '3-c')).inode,
      (await walk(tree, '3-c')).inode,
    ])
  })

  test('equal files and equal symlinks are one inode, wherever they are', async () => {
    const tree = twins().tree()
    const data = await walk(tree, '1-a/data')
    for (const path of ['2-b/data', '3-c', '4-d']) expect(await walk(tree, path)).toEqual(data)
    expect(await walk(tree, '1-a/bin/link')).toEqual(await walk(tree, '2-b/bin/link'))
  })

  test('the executable bit separates', async () => {
    const tree = twins().tree()
    const [plain, executable] = [await walk(tree, '1-a/data'), await walk(tree, '1-a/bin/run')]
    expect(plain.inode).not.toBe(executable.inode)
    expect(plain.attributes.ino).not.toBe(executable.attributes.ino)
    expect([plain.attributes.executable, executable.attributes.executable]).toEqual([false, true])
  })

  test('a directory that lies about a size spoils its own paths only', async () => {
    const store = new FakeStore()
    const honest = store.file('contents')
    store.rootNodes.add('1-lie', { ...honest, size: 3n })
    store.rootNodes.add('2-ok', honest)
    const tree = store.tree()
    const [lie, ok] = [await walk(tree, '1-lie'), await walk(tree, '2-ok')]
    await expect(async () => tree.read(lie.inode, 0, 100)).rejects.toMatchObject({ code: 'corrupt' })
    expect(Buffer.concat(await tree.read(ok.inode, 0, 100)).toString()).toBe('contents')
  })

  test('a file, and a symlink whose target is its contents, differ in st_ino', async () => {
    const store = new FakeStore()
    store.rootNodes.add('1-f', store.file('text'))
    store.rootNodes.add('2-l', store.symlink('text'))
    const tree = store.tree()
    expect((await walk(tree, '1-f')).attributes.ino).not.toBe((await walk(tree, '2-l')).attributes.ino)
  })
})

describe('st_ino and attributes', () => {
  const PATHS = ['1-a', '1-a/bin', '1-a/bin/run', '1-a/bin/link', '1-a/data', '3-c']

  test('are the same after forgetting and after mounting anew, and never 0 or 1', async () => {
    const store = twins()
    const [tree, again] = [store.tree(), store.tree()]
    for (const path of PATHS) {
      const first = await walk(tree, path)
      expect(first.attributes.ino).toBeGreaterThan(1n)
      tree.forget(first.inode, 1)
      expect((await walk(tree, path)).attributes).toEqual(first.attributes)
      expect((await walk(again, path)).attributes).toEqual(first.attributes)
    }
    expect(tree.getattr(1)).toEqual({ ino: 1n, kind: 'directory', size: 0n, executable: false })
  })

  test('a listing that hands out no inodes shows the attributes that a lookup shows', async () => {
    const tree = twins().tree()
    for (const path of ['1-a', '1-a/bin']) {
      const { inode } = await walk(tree, path)
      for (const { name, entry } of await list(tree, inode, 2))
        expect(entry).toEqual({ inode: 0, attributes: (await walk(tree, `${path}/${name}`)).attributes })
    }
  })

  test('a directory has the size that its parent records, a symlink that of its target', async () => {
    const store = twins()
    const tree = store.tree()
    expect((await walk(tree, '1-a/bin')).attributes.size).toBe(4n)
    expect((await walk(tree, '1-a')).attributes.size).toBe(10n)
    expect((await walk(tree, '1-a/bin/link')).attributes).toMatchObject({ kind: 'symlink', size: 3n })
    expect(tree.readlink((await walk(tree, '1-a/bin/link')).inode)).toEqual(new Uint8Array(utf8('run')))
  })
})

/** Does what a kernel does, in the order of `choices`, and checks after each step what the tree holds. */
async function walkAndForget(
  tree: Tree & { usage: { inodes: number } },
  choices: readonly number[],
): Promise<void> {
  const held = new Map<InodeNumber, number>()
  const dead = new Set<InodeNumber>()
  const take = (inode: InodeNumber) => {
    expect(dead.has(inode), `number ${inode} was dead`).toBe(false)
    held.set(inode, (held.get(inode) ?? 0) + 1)
  }
  const forget = (inode: InodeNumber, references: number) => {
    tree.forget(inode, references)
    const left = held.get(inode)! - references
    if (left > 0) held.set(inode, left)
    else dead.add(inode) && held.delete(inode)
  }
  const names = ['1-a', '2-b', '3-c', '4-d', 'bin', 'data', 'big', 'run', 'link', 'none']
  for (const choice of choices) {
    const inodes = [1, ...held.keys()]
    const inode = inodes[choice % inodes.length]!
    const isDirectory = tree.getattr(inode).kind === 'directory'
    if (choice % 3 === 0 && held.size > 0 && inode !== 1) forget(inode, 1 + (choice % held.get(inode)!))
    else if (choice % 3 === 1 && isDirectory) {
      const sink = new PageSink(choice % 4)
      await tree.readdir(inode, choice % 2, sink, true)
      for (const { entry } of sink.taken) take(entry.inode)
    } else if (isDirectory) {
      const answer = await tree.lookup(inode, utf8(names[choice % names.length]!))
      if (!isMissing(answer)) take(answer.inode)
    }
    expect(tree.usage.inodes).toBe(1 + held.size)
  }
  for (const [inode, references] of held) forget(inode, references)
  expect(tree.usage.inodes).toBe(1)
  expect(tree.statfs()).toMatchObject({ blocks: 0n, files: 1n })
  for (const inode of dead) expect(() => tree.getattr(inode)).toThrow(STALE)
}

const CHOICES = fc.array(fc.nat(100_000), { minLength: 1, maxLength: 120 })
const MANY_CHOICES = Array.from({ length: 200 }, (_, i) => i * 7919)

describe('forgetting', () => {
  test('memory follows what the kernel holds, and no number comes twice', async () => {
    const tree = twins().tree()
    await fc.assert(fc.asyncProperty(CHOICES, (choices) => walkAndForget(tree, choices)))
  })

  test.each<[string, (tree: Tree) => Pick<Tree, 'forget'>]>([
    ['does nothing', () => ({ forget: () => {} })],
    ['takes one reference back', (tree) => ({ forget: (inode) => tree.forget(inode, 1) })],
    ['takes all references back', (tree) => ({ forget: (inode) => tree.forget(inode, 1e9) })],
  ])('control: a tree whose forget %s is found out', async (_, broken) => {
    const tree = twins().tree()
    const inner: Tree = {
      forget: tree.forget.bind(tree),
    } as Tree
    Object.assign(tree, broken(inner))
    await expect(walkAndForget(tree, MANY_CHOICES)).rejects.toThrow()
  })

  test('a known store path answers while it is held, and is asked for again after that', async () => {
    const store = twins()
    const tree = store.tree()
    const { inode } = await walk(tree, '1-a')
    store.rootNodes.entries.length = 0
    expect((await walk(tree, '1-a')).inode).toBe(inode)
    expect(store.rootNodes.requests).toBe(1)
    tree.forget(inode, 2)
    expect(await tree.lookup(1, utf8('1-a'))).toEqual({ missing: true, forever: false })
    expect(store.rootNodes.requests).toBe(2)
  })

  test('unknown numbers are ESTALE everywhere, and forgetting them is harmless', async () => {
    const tree = twins().tree()
    for (const inode of [0, 2, 3, 2 ** 28 + 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      tree.forget(inode, 1)
      expect(() => tree.getattr(inode)).toThrow(STALE)
      expect(() => tree.lookup(inode, utf8('a'))).toThrow(STALE)
      expect(() => tree.read(inode, 0, 1)).toThrow(STALE)
      expect(() => tree.readlink(inode)).toThrow(STALE)
      expect(() => tree.listxattr(inode)).toThrow(STALE)
      expect(() => tree.readdir(inode, 0, new PageSink(1), true)).toThrow(STALE)
    }
    tree.forget(1, 1e9)
    expect(tree.getattr(1).ino).toBe(1n)
  })
})

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function memoryInUse(): number {
  // V8 gives buffers back behind the scenes; the second time it has to be done with those of the first.
  collectGarbage()
  collectGarbage()
  const { external, heapUsed } = process.memoryUsage()
  return external + heapUsed
}

describe('the table', () => {
  const fileNode = (n: number): FileNode => {
    const bytes = Buffer.alloc(32)
    bytes.writeUInt32LE(n, 12)
    return { kind: 'file', digest: Digest.fromBytes(bytes), size: BigInt(n), executable: false }
  }

  test('costs at most 150 bytes an inode', () => {
    const count = 300_000
    const nodes = Array.from({ length: count }, (_, n) => fileNode(n))
    const before = memoryInUse()
    const table = new InodeTable()
    for (const node of nodes) table.reference(table.intern(node, 1, 0, node.digest.bytes))
    const bytes = memoryInUse() - before
    expect([table.count, nodes.length]).toEqual([count + 1, count])
    expect(bytes / count).toBeGreaterThan(50)
    expect(bytes / count).toBeLessThan(150)
  })

  test('keeps places apart, also those that share a hash bucket', () => {
    const table = new InodeTable()
    const node = new FakeStore().directory({})
    const tops = Array.from({ length: 3000 }, (_, n) => table.internAtRoot(node, utf8(`${n}-top`)))
    const places = () =>
      tops.flatMap((top) => [0, 1, 2].map((at) => table.intern(node, top, at, utf8(`${at}`))))
    const inodes = places()
    expect(new Set([...tops, ...inodes]).size).toBe(12_000)
    expect(places()).toEqual(inodes)
    expect(inodes.map((inode) => table.parent(inode))).toEqual(tops.flatMap((top) => [top, top, top]))
  })

  test('uses the room of dead inodes again', () => {
    const table = new InodeTable()
    const numbers = new Set<InodeNumber>()
    const before = memoryInUse()
    for (let round = 0; round < 50; round++) {
      const round0 = Array.from({ length: 1000 }, (_, n) => table.intern(fileNode(n), 1, 0, utf8('')))
      for (const inode of round0) numbers.add(inode) && table.reference(inode)
      for (const inode of round0) expect(table.forget(inode, 1)).toBe(true)
    }
    expect(numbers.size).toBe(50_000)
    expect(table.count).toBe(1)
    expect(memoryInUse() - before).toBeLessThan(4 * 1024 * 1024)
  })

  test('keeps the targets of symlinks right while others come and go', () => {
    const table = new InodeTable()
    const store = new FakeStore()
    const targets = Array.from({ length: 500 }, (_, n) => `../${'x'.repeat(n % 90)}/${n}`)
    const inodes = targets.map((target) => table.intern(store.symlink(target), 1, 0, utf8('')))
    for (const [n, inode] of inodes.entries()) if (n % 5 !== 0) table.forget(inode, 0)
    for (const [n, inode] of inodes.entries())
      if (n % 5 === 0) expect(Buffer.from(table.target(inode)).toString()).toBe(targets[n])
      else expect(() => table.target(inode)).toThrow(STALE)
  })
})
