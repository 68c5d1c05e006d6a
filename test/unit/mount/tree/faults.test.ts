import { describe, expect, test } from 'vitest'
import type { FileNode } from '../../../../src/model/castore/node.ts'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import type { ChunkMeta } from '../../../../src/services/blobs/interface.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { ERROR_TABLE, type ErrorCode, StoreError } from '../../../../src/support/errors.ts'
import { UNCHUNKED_BLOB_BYTES_MAX } from '../../../../src/support/limits.ts'
import { FakeStore, list, PageSink, readAll, walk } from '../../../support/trees.ts'

const KiB = 1024
const EIO = 5

function store() {
  const fake = new FakeStore()
  const file = fake.file('contents')
  const big = fake.blobs.addSynthetic('big', 256 * KiB, 8)
  const bigNode: FileNode = { kind: 'file', digest: big.digest, size: BigInt(big.size), executable: false }
  const sub = fake.directory({ file, big: bigNode })
  fake.rootNodes.add('1-a', fake.directory({ sub, file }))
  return { fake, file, big, bigNode, sub }
}

type Filled = ReturnType<typeof store>
/** A name, the code of the error, and what brings it about. */
type Damage = readonly [string, ErrorCode, (all: Filled) => unknown]

const unavailable = () => new StoreError('unavailable', 'connection refused')

async function failure(work: () => unknown): Promise<StoreError> {
  try {
    await work()
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
  throw new Error('did not fail')
}

describe('a directory', () => {
  test.each<Damage>([
    ['missing', 'corrupt', ({ fake }) => fake.directories.contents.clear()],
    ['unavailable', 'unavailable', ({ fake }) => (fake.directories.failure = unavailable())],
    ['invalid', 'corrupt', ({ fake }) => (fake.directories.failure = new ValidationError('Malformed', 'no'))],
  ])('%s: stat works, listing it and finding in it fail', async (_, code, damage) => {
    const all = store()
    const tree = all.fake.tree()
    const { inode, attributes } = await walk(tree, '1-a/sub')
    const contents = new Map(all.fake.directories.contents)
    damage(all)
    expect(tree.getattr(inode)).toEqual(attributes)
    for (const work of [
      () => tree.lookup(inode, utf8('file')),
      () => tree.lookup(inode, utf8('none')),
      () => tree.readdir(inode, 0, new PageSink(9), true),
    ]) {
      const error = await failure(work)
      expect(error.code).toBe(code)
      expect(ERROR_TABLE[error.code].errno).toBe(EIO)
      for (const part of ['1-a', all.sub.digest.toString(), 'directories.test'])
        expect(error.message).toContain(part)
    }
    expect(tree.stats.directories.failed).toBe(3)
    all.fake.directories.failure = undefined
    for (const [key, directory] of contents) all.fake.directories.contents.set(key, directory)
    expect(await list(tree, inode, 9)).toHaveLength(2)
    expect((await walk(tree, '1-a/sub/file')).attributes.size).toBe(8n)
  })

  test('below a store path that the kernel forgot is told without one', async () => {
    const { fake, sub } = store()
    const tree = fake.tree()
    const { inode: parent } = await walk(tree, '1-a')
    const { inode } = await walk(tree, '1-a/sub')
    tree.forget(parent, 2)
    fake.directories.failure = unavailable()
    const { message } = await failure(() => tree.lookup(inode, utf8('file')))
    expect(message).toContain(sub.digest.toString())
    expect(message).not.toContain('1-a')
  })
})

describe('a blob', () => {
  test.each<Damage>([
    ['missing', 'corrupt', ({ fake }) => fake.blobs.contents.clear()],
    ['unavailable', 'unavailable', ({ fake }) => (fake.blobs.failure = unavailable())],
    ['shorter', 'corrupt', ({ fake, file }) => fake.blobs.contents.set(file.digest.key, () => utf8('c'))],
    [
      'longer',
      'corrupt',
      ({ fake, file }) => fake.blobs.contents.set(file.digest.key, () => utf8('contents, and more')),
    ],
    ['empty', 'corrupt', ({ fake, file }) => fake.blobs.contents.set(file.digest.key, () => utf8(''))],
  ])('%s: lookup, stat and listing work, reading fails', async (_, code, damage) => {
    const all = store()
    const tree = all.fake.tree()
    const contents = new Map(all.fake.blobs.contents)
    damage(all)
    const { inode, attributes } = await walk(tree, '1-a/file')
    expect(tree.getattr(inode)).toEqual(attributes)
    const error = await failure(() => tree.read(inode, 0, 4096))
    expect(error.code).toBe(code)
    for (const part of ['1-a', all.file.digest.toString(), 'blobs.test'])
      expect(error.message).toContain(part)
    all.fake.blobs.failure = undefined
    for (const [key, blob] of contents) all.fake.blobs.contents.set(key, blob)
    expect((await readAll(tree, inode, 0, 4096)).toString()).toBe('contents')
    expect(tree.stats.chunks).toMatchObject({ fetched: 2, failed: 1, cached: 0 })
  })

  test('with a missing chunk: what other chunks hold can be read', async () => {
    const { fake, big } = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a/sub/big')
    const chunk = fake.blobs.lists.get(big.digest.key)![3]!.digest
    fake.blobs.contents.delete(chunk.key)
    const error = await failure(() => tree.read(inode, 3 * 256 * KiB, 10))
    expect(error.code).toBe('corrupt')
    for (const part of ['1-a', chunk.toString(), big.digest.toString()]) expect(error.message).toContain(part)
    expect(await readAll(tree, inode, 4 * 256 * KiB, 2)).toEqual(Buffer.from([4, 5]))
    expect((await failure(() => tree.read(inode, 0, big.size))).code).toBe('corrupt')
  })

  test.each<readonly [string, (chunks: readonly ChunkMeta[]) => readonly ChunkMeta[]]>([
    ['too short', (chunks) => chunks.slice(1)],
    ['too long', (chunks) => [...chunks, chunks[0]!]],
    ['with a chunk of no bytes', (chunks) => [...chunks, { ...chunks[0]!, size: 0 }]],
    ['with a negative chunk', (chunks) => [...chunks, chunks[0]!, { ...chunks[0]!, size: -chunks[0]!.size }]],
  ])('with a chunk list %s is corrupt, naming digest and source', async (_, distort) => {
    const { fake, big } = store()
    const chunks = fake.blobs.lists.get(big.digest.key)!
    fake.blobs.lists.set(big.digest.key, distort(chunks))
    const tree = fake.tree()
    const error = await failure(async () => tree.read((await walk(tree, '1-a/sub/big')).inode, 0, 10))
    expect(error.code).toBe('corrupt')
    for (const part of ['1-a', big.digest.toString(), 'blobs.test']) expect(error.message).toContain(part)
    expect(fake.blobs.readRequests).toBe(0)
  })

  test('without chunks is read as a whole, once; above the limit it says what to do', async () => {
    const fake = new FakeStore()
    const whole = fake.file(new Uint8Array(300 * KiB).map((_, i) => i))
    fake.rootNodes.add('1-whole', whole)
    const huge: FileNode = { ...whole, size: BigInt(UNCHUNKED_BLOB_BYTES_MAX + 1) }
    fake.rootNodes.add('2-huge', huge)
    fake.rootNodes.add('3-impossible', { ...whole, size: 2n ** 53n })
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-whole')
    for (const offset of [0, 5000, 299 * KiB])
      expect(await readAll(tree, inode, offset, 2)).toEqual(Buffer.from([offset, offset + 1]))
    expect([fake.blobs.chunkRequests, fake.blobs.readRequests]).toEqual([1, 1])
    for (const path of ['2-huge', '3-impossible']) {
      const { inode: refused, attributes } = await walk(tree, path)
      expect(tree.getattr(refused)).toEqual(attributes)
      const error = await failure(() => tree.read(refused, 0, 10))
      expect(error.code).toBe('exhausted')
      expect(error.message).toContain(path)
    }
    expect(fake.blobs.readRequests).toBe(1)
  })
})

describe('the root', () => {
  test('a source that fails is never an absent path, and is asked again', async () => {
    const { fake } = store()
    const tree = fake.tree()
    fake.rootNodes.failure = unavailable()
    for (const name of ['1-a', '9-none']) {
      const error = await failure(() => tree.lookup(1, utf8(name)))
      expect(error).toMatchObject({ code: 'unavailable' })
      for (const part of [name, 'paths.test']) expect(error.message).toContain(part)
    }
    fake.rootNodes.failure = undefined
    expect((await walk(tree, '1-a')).attributes.kind).toBe('directory')
    expect(tree.stats.rootLookups).toMatchObject({ asked: 3, fetched: 3, failed: 2 })
  })

  test('absence is for now, and asked for anew each time', async () => {
    const { fake, sub } = store()
    const tree = fake.tree()
    expect(await tree.lookup(1, utf8('2-later'))).toEqual({ missing: true, forever: false })
    fake.rootNodes.add('2-later', sub)
    expect(await walk(tree, '2-later/file')).toBeDefined()
  })

  test('below a store path absence is for ever', async () => {
    const { fake } = store()
    const tree = fake.tree()
    const { inode } = await walk(tree, '1-a')
    for (const name of ['none', 'file2', 'a/b', '', '.', 'x'.repeat(256)])
      expect(await tree.lookup(inode, utf8(name))).toEqual({ missing: true, forever: true })
  })
})

describe('what a filesystem answers in the normal course of things', () => {
  test('ENOTDIR, EISDIR and EINVAL', async () => {
    const fake = new FakeStore()
    const top = fake.directory({ file: fake.file('x'), link: fake.symlink('file') })
    fake.rootNodes.add('1-a', top)
    const tree = fake.tree()
    const [dir, file, link] = await Promise.all(
      ['1-a', '1-a/file', '1-a/link'].map((path) => walk(tree, path)),
    )
    for (const { inode } of [file!, link!]) {
      expect(() => tree.lookup(inode, utf8('x'))).toThrow('ENOTDIR')
      expect(() => tree.readdir(inode, 0, new PageSink(1), true)).toThrow('ENOTDIR')
    }
    for (const inode of [1, dir!.inode]) expect(() => tree.read(inode, 0, 1)).toThrow('EISDIR')
    expect(() => tree.read(link!.inode, 0, 1)).toThrow('EINVAL')
    for (const inode of [1, dir!.inode, file!.inode]) expect(() => tree.readlink(inode)).toThrow('EINVAL')
  })

  test('extended attributes: both names answer, one is listed', async () => {
    const { fake, sub, file } = store()
    fake.rootNodes.add('2-link', fake.symlink('1-a'))
    const tree = fake.tree()
    const [directory, regular, link] = await Promise.all(
      ['1-a/sub', '1-a/file', '2-link'].map(async (path) => (await walk(tree, path)).inode),
    )
    const value = (inode: number, name: string) => {
      const bytes = tree.getxattr(inode, name)
      return bytes && Buffer.from(bytes).toString()
    }
    expect(tree.listxattr(directory!)).toEqual(['user.tvix.castore.directory.digest'])
    expect(tree.listxattr(regular!)).toEqual(['user.tvix.castore.blob.digest'])
    expect(value(directory!, 'user.tvix.castore.directory.digest')).toBe(sub.digest.toString())
    expect(value(regular!, 'user.tvix.castore.blob.digest')).toBe(file.digest.toString())
    const base64 = Buffer.from(file.digest.bytes).toString('base64')
    expect(value(regular!, 'user.snix.castore.blob.digest')).toBe(`blake3-${base64}`)
    for (const name of ['user.tvix.castore.directory.digest', 'user.other', ''])
      expect(value(regular!, name)).toBeUndefined()
    for (const inode of [1, link!]) {
      expect(tree.listxattr(inode)).toEqual([])
      expect(value(inode, 'user.tvix.castore.directory.digest')).toBeUndefined()
    }
  })

  test('statfs counts the contents seen, each once', async () => {
    const fake = new FakeStore()
    const contents = fake.file(new Uint8Array(5000))
    fake.rootNodes.add('1-a', fake.directory({ one: contents, two: contents }))
    const tree = fake.tree()
    expect(tree.statfs()).toEqual({ blockSize: 4096, blocks: 0n, files: 1n })
    await walk(tree, '1-a/one')
    await walk(tree, '1-a/two')
    expect(tree.statfs()).toEqual({ blockSize: 4096, blocks: 2n, files: 3n })
  })

  test('a directory whose entries are above the cache limit is fetched once, not once a page', async () => {
    const fake = new FakeStore()
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${n}`, fake.file('x')]))
    fake.rootNodes.add('1-many', fake.directory(many))
    const tree = fake.tree({ limits: { directoryCacheEntries: 10 } })
    expect(await list(tree, (await walk(tree, '1-many')).inode, 3)).toHaveLength(50)
    expect(fake.directories.requests).toBe(1)
  })
})
