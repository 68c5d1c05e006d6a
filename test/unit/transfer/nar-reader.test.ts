import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../src/model/castore/digest.ts'
import { Directory } from '../../../src/model/castore/directory.ts'
import type { Node } from '../../../src/model/castore/node.ts'
import { pathComponent } from '../../../src/model/castore/path-component.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { LocalChunks } from '../../../src/services/blobs/local-chunks.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { objectStoreBlobService } from '../../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../../src/services/blobs/verifying.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { openFileObjectStore } from '../../../src/services/objects/file.ts'
import { memoryObjectStore } from '../../../src/services/objects/memory.ts'
import { utf8 } from '../../../src/support/bytes.ts'
import { NAR_READER_BYTES_MAX, SMALL_BLOB_BYTES_MAX, TREE_DEPTH_MAX } from '../../../src/support/limits.ts'
import { openNar } from '../../../src/transfer/nar-reader.ts'
import { renderNar } from '../../../src/transfer/render-nar.ts'
import { collect } from '../../support/collect.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { nested, type RandomTree, randomTree, storeTree } from '../../support/random-trees.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { vectors } from '../../support/vectors.ts'

type Backend = () => Promise<{ readonly blobs: BlobService } & Partial<AsyncDisposable>>

const BACKENDS: Record<string, Backend> = {
  'blobs in chunks': async () => ({
    blobs: verifyingBlobService(objectStoreBlobService(memoryObjectStore()), 'test'),
  }),
  'whole blobs': async () => ({ blobs: memoryBlobService() }),
  'a folder, read by the addon': async () => {
    const dir = await tempDir()
    const local = LocalChunks.at(dir.path)
    assert(local, 'the addon is not built: npm run build:native')
    const objects = await openFileObjectStore(dir.path)
    return {
      blobs: verifyingBlobService(objectStoreBlobService(objects, undefined, local), 'test'),
      [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
    }
  },
}

const TREES = 60
const RANGES_PER_TREE = 100

describe.each(Object.entries(BACKENDS))('equals the plain renderer, %s', (_, makeBlobs) => {
  test(`at ${TREES * RANGES_PER_TREE} random ranges of ${TREES} trees`, async () => {
    const ranges = fc.array(
      fc.tuple(fc.double({ min: 0, max: 1.1, noNaN: true }), fc.nat({ max: 200 }), fc.boolean()),
      {
        minLength: RANGES_PER_TREE,
        maxLength: RANGES_PER_TREE,
      },
    )
    let compared = 0
    await fc.assert(
      fc.asyncProperty(randomTree, ranges, async (tree, wanted) => {
        const backend = await makeBlobs()
        const services = { blobs: backend.blobs, directories: memoryDirectoryService() }
        const root = await storeTree(services, tree)
        const nar = Buffer.concat(await collect(renderNar(services, root)))
        const reader = await openNar(services, root)
        expect(reader.size).toBe(nar.length)
        for (const [at, length, isLong] of wanted) {
          const start = Math.floor(at * nar.length)
          const end = isLong ? start + length * 5000 : start + length
          const got = Buffer.concat(await collect(reader.read({ start, end })))
          if (!got.equals(nar.subarray(start, end))) throw new Error(`differs from ${start} to ${end}`)
          compared++
        }
        expect(Buffer.concat(await collect(reader.read())).equals(nar)).toBe(true)
        await backend[Symbol.asyncDispose]?.()
      }),
      { numRuns: TREES },
    )
    expect(compared).toBeGreaterThanOrEqual(TREES * RANGES_PER_TREE)
  }, 120_000)
})

test('every range of a small tree', async () => {
  const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
  const tree: RandomTree = {
    kind: 'directory',
    entries: [
      [utf8('a'), { kind: 'file', contents: utf8('contents'), executable: true }],
      [utf8('b'), nested({ kind: 'symlink', target: utf8('t') }, 1)],
      [utf8('c'), { kind: 'file', contents: utf8('123'), executable: false }],
    ],
  }
  const root = await storeTree(services, tree)
  const nar = Buffer.concat(await collect(renderNar(services, root)))
  const reader = await openNar(services, root)
  for (let start = 0; start <= nar.length; start += 7)
    for (let end = start; end <= nar.length; end += 13)
      expect(Buffer.concat(await collect(reader.read({ start, end })))).toEqual(nar.subarray(start, end))
})

describe('what is read', () => {
  test('only the chunks that hold the range', async () => {
    const blobs = objectStoreBlobService(memoryObjectStore())
    const directories = memoryDirectoryService()
    const contents = pseudoRandom(8 * 1024 * 1024, 7)
    const root = await storeTree({ blobs, directories }, { kind: 'file', contents, executable: false })
    let opened = 0
    const counting: BlobService = {
      has: (digest, call) => blobs.has(digest, call),
      chunks: (digest, call) => blobs.chunks(digest, call),
      openWrite: (call) => blobs.openWrite(call),
      openRead: (digest, call) => {
        opened++
        return blobs.openRead(digest, call)
      },
    }
    const reader = await openNar({ blobs: counting, directories }, root)
    const start = 4 * 1024 * 1024
    const got = Buffer.concat(await collect(reader.read({ start, end: start + 10 })))
    expect(got.length).toBe(10)
    expect(opened).toBeLessThanOrEqual(2)
  })

  test('nothing for framing', async () => {
    const directories = memoryDirectoryService()
    const digest = Digest.of(utf8('never stored'))
    const blobs = memoryBlobService()
    const root: Node = { kind: 'file', digest, size: 12n, executable: false }
    const reader = await openNar({ blobs, directories }, root)
    expect(reader.size).toBe(128)
    expect(Buffer.concat(await collect(reader.read({ start: 0, end: 96 }))).length).toBe(96)
  })
})

describe('what is stored wrongly is corrupt, and named', () => {
  const contents = utf8('Hello World!')

  async function read(size: bigint, stored: boolean): Promise<void> {
    const blobs = memoryBlobService()
    const digest = Digest.of(contents)
    if (stored) {
      const writer = blobs.openWrite()
      await writer.write(contents)
      await writer.close()
    }
    const root: Node = { kind: 'file', digest, size, executable: false }
    const reader = await openNar({ blobs, directories: memoryDirectoryService() }, root)
    const error = await collect(reader.read({ start: 98, end: 100 })).catch((e) => e)
    expect(error).toMatchObject({ code: 'corrupt', message: expect.stringContaining(digest.toString()) })
  }

  test.each([42n, 11n, BigInt(2 * SMALL_BLOB_BYTES_MAX)])('a node of %d bytes for a blob of 12', (size) =>
    read(size, true),
  )
  test.each([12n, BigInt(2 * SMALL_BLOB_BYTES_MAX)])('a missing blob of %d bytes', (size) =>
    read(size, false),
  )

  test('a missing root', async () => {
    const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const digest = Digest.of(contents)
    const error = await openNar(services, { kind: 'directory', digest, size: 1n }).catch((e) => e)
    expect(error).toMatchObject({ code: 'corrupt', message: expect.stringContaining(digest.toString()) })
  })
})

describe('limits', () => {
  /** Directories of two entries with the same directory below: the tree doubles with each level. */
  async function doubling(levels: number) {
    const directories = memoryDirectoryService()
    let node: Node = { kind: 'symlink', target: utf8('x') as never }
    for (let i = 0; i < levels; i++) {
      const entries = ['a', 'b'].map((name) => ({ name: pathComponent(utf8(name)), node }))
      const directory = Directory.from(entries)
      await directories.put(directory)
      node = { kind: 'directory', digest: directory.digest, size: directory.size('documented') }
    }
    return { services: { blobs: memoryBlobService(), directories }, root: node }
  }

  test('a tree of 2^40 entries opens at once and is read in the middle', async () => {
    const { services, root } = await doubling(40)
    const reader = await openNar(services, root)
    expect(reader.size).toBeGreaterThan(2 ** 46)
    const middle = Buffer.concat(await collect(reader.read({ start: 2 ** 45, end: 2 ** 45 + 1000 })))
    expect(middle.length).toBe(1000)
    expect(middle.includes('entry')).toBe(true)
  })

  test('a NAR of 2^53 bytes and more is refused', async () => {
    const { services, root } = await doubling(50)
    await expect(openNar(services, root)).rejects.toMatchObject({ code: 'exhausted' })
  })

  test.each([
    [TREE_DEPTH_MAX, true],
    [TREE_DEPTH_MAX + 1, false],
  ])('%d levels of directories', async (levels, isFine) => {
    const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const root = await storeTree(services, nested({ kind: 'symlink', target: utf8('x') }, levels))
    const opened = openNar(services, root)
    if (isFine) expect((await opened).size).toBeGreaterThan(0)
    else await expect(opened).rejects.toMatchObject({ code: 'exhausted' })
  })

  test('directories of more bytes than are held', async () => {
    const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const root = await storeTree(services, nested({ kind: 'symlink', target: utf8('x') }, 1))
    const [directory] = await collect(services.directories.getRecursive((root as { digest: Digest }).digest))
    const huge = { digest: directory!.digest, encoded: { length: NAR_READER_BYTES_MAX + 1 } } as Directory
    const lying = {
      ...services.directories,
      async *getRecursive() {
        yield huge
      },
    } as never
    const opened = openNar({ blobs: services.blobs, directories: lying }, root)
    await expect(opened).rejects.toMatchObject({ code: 'exhausted' })
  })
})

test.each(vectors.nar.seek.cases as { start: number; read10_hex: string }[])(
  'vectors nar.seek: from $start',
  async ({ start, read10_hex }) => {
    const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const root = await storeTree(services, {
      kind: 'file',
      contents: utf8('Hello World!'),
      executable: false,
    })
    const reader = await openNar(services, root)
    const read = Buffer.concat(await collect(reader.read({ start, end: start + 10 })))
    expect(read.toString('hex')).toBe(read10_hex)
  },
)

test('positions beyond the end are the end', async () => {
  const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
  const root = await storeTree(services, { kind: 'symlink', target: utf8('x') })
  const reader = await openNar(services, root)
  expect(await collect(reader.read({ start: reader.size + 5, end: reader.size + 9 }))).toEqual([])
  expect(await collect(reader.read({ start: reader.size }))).toEqual([])
})
