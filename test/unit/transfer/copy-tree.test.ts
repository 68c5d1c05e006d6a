import { describe, expect, test } from 'vitest'
import type { DirectoryNode, Node } from '../../../src/model/castore/node.ts'
import { hex } from '../../../src/support/bytes.ts'
import { TreeCopier } from '../../../src/transfer/copy-tree.ts'
import { MemoryStore } from '../../support/memory-store.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'

class Moved {
  bytes = 0
  reused = 0
  moved(bytes: number) {
    this.bytes += bytes
  }
  present(bytes: number) {
    this.reused += bytes
  }
}

async function copy(from: MemoryStore, to: MemoryStore, node: Node, thorough = false) {
  const progress = new Moved()
  const copier = new TreeCopier(from, to, { reuseChunks: true, progress })
  return { ...(await copier.copy(node, { thorough })), ...progress }
}

async function expectSame(from: MemoryStore, to: MemoryStore, node: Node) {
  const there = await to.narCalculation.calculateNar(node)
  expect(hex(there.narSha256)).toBe(hex((await from.narCalculation.calculateNar(node)).narSha256))
}

async function sample(store: MemoryStore): Promise<DirectoryNode> {
  const shared = await store.directory({ same: await store.file('same') })
  return await store.directory({
    // The shared directory is met at the top first and is a leaf of what comes later.
    a: shared,
    b: await store.directory({ deep: await store.directory({ shared, empty: await store.file('') }) }),
    c: await store.file('same', true),
    d: { kind: 'symlink', target: Buffer.from('a/same') as never },
  })
}

describe('copying a tree', () => {
  test('everything arrives, equal contents move once, and a second time nothing moves', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const root = await sample(from)
    expect(await copy(from, to, root)).toMatchObject({ assumed: false, bytes: 'same'.length })
    await expectSame(from, to, root)
    expect(await copy(from, to, root)).toMatchObject({ assumed: true, bytes: 0 })
  })

  test('files and symlinks at the root', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const file = await from.file('x', true)
    await copy(from, to, file)
    await expectSame(from, to, file)
    const symlink: Node = { kind: 'symlink', target: Buffer.from('x') as never }
    expect(await copy(from, to, symlink)).toMatchObject({ assumed: false, bytes: 0 })
  })

  test('the empty blob need not be stored anywhere', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const root = await from.directory({ empty: await from.file('') })
    for (const { node } of (await from.directories.get(root.digest))!.entries)
      if (node.kind === 'file') from.lossy.lost.add(node.digest.key)
    await copy(from, to, root)
    await to.narCalculation.calculateNar(root)
  })

  test('of a version that shares 95 % of its files at most a tenth of the bytes move', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const build = async (version: number) => {
      const folders: Record<string, Node> = {}
      for (let d = 0; d < 20; d++) {
        const files: Record<string, Node> = {}
        for (let f = 0; f < 20; f++) {
          const isChanged = (d * 20 + f) % 20 === 7
          files[`f${f}`] = await from.file(pseudoRandom(2000, d * 20 + f + (isChanged ? version * 1000 : 0)))
        }
        folders[`d${d}`] = await from.directory(files)
      }
      return await from.directory(folders)
    }
    const first = await copy(from, to, await build(1))
    expect(first.bytes).toBe(20 * 20 * 2000)
    const second = await copy(from, to, await build(2))
    expect(second.bytes).toBe(20 * 2000)
  })

  test('of a large blob only the chunks move that are new', async () => {
    const [from, to] = [new MemoryStore('from', true), new MemoryStore('to', true)]
    const bytes = pseudoRandom(16 * 1024 * 1024, 1)
    await copy(from, to, await from.file(bytes))
    const changed = Buffer.from(bytes)
    changed.write('changed', 5_000_000)
    const node = await from.file(changed)
    const { bytes: moved, reused } = await copy(from, to, node)
    expect(moved).toBeLessThan(1_200_000)
    expect(moved + reused).toBe(changed.length)
    await expectSame(from, to, node)
  })

  test('below a directory that is there all is taken to be there, but by a thorough copy', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const kept = await from.file('kept and lost')
    const root = await from.directory({ old: await from.directory({ kept }) })
    await copy(from, to, root)
    to.lossy.lost.add(kept.digest.key)
    const next = await from.directory({ old: await from.directory({ kept }), new: await from.file('new') })
    expect(await copy(from, to, next)).toMatchObject({ assumed: true })
    await expect(to.narCalculation.calculateNar(next)).rejects.toThrow(/missing/)
    expect(await copy(from, to, next, true)).toMatchObject({ assumed: false })
    await expectSame(from, to, next)
  })

  test('what the source lost is named, and no directory is stored', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const file = await from.file('lost')
    const root = await from.directory({ a: await from.directory({ file }) })
    from.lossy.lost.add(file.digest.key)
    await expect(copy(from, to, root)).rejects.toMatchObject({
      code: 'corrupt',
      message: `blob ${file.digest} is missing from the source`,
    })
    expect(await to.directories.get(root.digest)).toBeUndefined()
    const nowhere = await new MemoryStore().directory({ x: file })
    await expect(copy(from, to, nowhere)).rejects.toThrow(
      `directory ${nowhere.digest} is missing from the source`,
    )
  })

  test('a source that is not verified and lies', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const [asked, sent] = [await from.file('asked'), await from.file('sent')]
    const liar = {
      ...from,
      directories: from.directories,
      blobs: { ...from.blobs, openRead: () => from.blobs.openRead(sent.digest) },
    }
    const copier = new TreeCopier(liar as never, to, { reuseChunks: false })
    await expect(copier.copy(asked, { thorough: false })).rejects.toMatchObject({ code: 'corrupt' })
  })

  test('memory is bounded: only so many large blobs are read at the same time', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const files: Record<string, Node> = {}
    for (let i = 0; i < 20; i++) files[`f${i}`] = await from.file(pseudoRandom(9_000_000, i))
    await copy(from, to, await from.directory(files))
    expect(from.lossy.readsAtOnceMax).toBe(8)
  }, 30_000)

  test('aborted, it ends with cancelled and stores no directory', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const root = await sample(from)
    const controller = new AbortController()
    controller.abort()
    const copier = new TreeCopier(from, to, { reuseChunks: false })
    await expect(copier.copy(root, { thorough: true, signal: controller.signal })).rejects.toMatchObject({
      code: 'cancelled',
    })
    expect(await to.directories.get(root.digest)).toBeUndefined()
  })
})
