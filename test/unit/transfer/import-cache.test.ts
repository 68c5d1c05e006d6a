import { chmod, mkdir, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Digest } from '../../../src/model/castore/digest.ts'
import type { PathInfo } from '../../../src/model/nix/path-info.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { blobKey, chunkKey } from '../../../src/services/blobs/object-keys.ts'
import { objectStoreBlobService } from '../../../src/services/blobs/object-store.ts'
import { readBlob } from '../../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../../src/services/blobs/verifying.ts'
import type { DirectoryService } from '../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { openFileObjectStore } from '../../../src/services/objects/file.ts'
import { openPackedObjectStore } from '../../../src/services/objects/packs.ts'
import { memoryPathInfoService } from '../../../src/services/pathinfos/memory.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { IMPORT_CACHE_BYTES_MAX, IMPORT_CACHE_RACY_MS } from '../../../src/support/limits.ts'
import { importPath } from '../../../src/transfer/import-path.ts'
import { ingestDirectory } from '../../../src/transfer/ingest-directory.ts'
import { localNarCalculation } from '../../../src/transfer/nar-calculation.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { tempDir as makeTempDir } from '../../support/temp-dir.ts'

const FILES = 30

let folder: Awaited<ReturnType<typeof makeTempDir>>
let tree: string
let cacheFolder: string
let blobs: BlobService
let directories: DirectoryService
/** Blobs that were sent to the store. */
let written: number

beforeEach(async () => {
  folder = await makeTempDir()
  tree = join(folder.path, 'tree')
  cacheFolder = join(folder.path, 'home', 'cache')
  await mkdir(join(tree, 'sub', 'empty'), { recursive: true })
  for (let i = 0; i < FILES; i++) await writeFile(file(i), `contents ${i}`)
  newStore()
  // As if the tree had been there for a while.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10 * IMPORT_CACHE_RACY_MS })
})

afterEach(async () => {
  vi.useRealTimers()
  await folder[Symbol.asyncDispose]()
})

function file(i: number): string {
  return join(tree, i % 2 ? 'sub' : '.', `file-${i}`)
}

function newStore(): void {
  const base = memoryBlobService()
  directories = memoryDirectoryService()
  blobs = {
    has: (digest, call) => base.has(digest, call),
    chunks: (digest, call) => base.chunks(digest, call),
    openRead: (digest, call) => base.openRead(digest, call),
    openWrite(call) {
      written++
      return base.openWrite(call)
    },
  }
}

/** Imports, and compares what is promised with what is stored, and that with the tree. */
async function importTree(): Promise<{ pathInfo: PathInfo; written: number }> {
  written = 0
  const services = { blobs, directories, pathInfos: memoryPathInfoService() }
  const pathInfo = await importPath(services, tree, { sizeFormula: 'rust', cacheFolder })
  const { narSize, narSha256 } = await localNarCalculation(services).calculateNar(pathInfo.node)
  expect(pathInfo.narSize).toBe(narSize)
  expect(Buffer.from(pathInfo.narSha256)).toEqual(Buffer.from(narSha256))
  const without = await importPath({ ...services, blobs: memoryBlobService() }, tree, { sizeFormula: 'rust' })
  expect(pathInfo.storePath.absolutePath).toBe(without.storePath.absolutePath)
  expect(pathInfo.node).toEqual(without.node)
  return { pathInfo, written }
}

async function cacheFile(): Promise<string> {
  const names = await readdir(cacheFolder)
  expect(names).toHaveLength(1)
  return join(cacheFolder, names[0]!)
}

describe('the second import of a tree', () => {
  test('sends nothing that is as it was', async () => {
    const first = await importTree()
    expect(first.written).toBe(FILES)
    const second = await importTree()
    expect(second.written).toBe(0)
    expect(second.pathInfo.storePath.absolutePath).toBe(first.pathInfo.storePath.absolutePath)
  })

  test('sends what changed, was added, and nothing else', async () => {
    await importTree()
    await writeFile(file(3), 'new contents')
    await writeFile(join(tree, 'added'), 'added')
    await rm(file(4))
    await chmod(file(6), 0o755)
    // The mode is no part of the contents, but it moves ctime: nobody knows what else happened then.
    expect((await importTree()).written).toBe(3)
    vi.setSystemTime(Date.now() + 10 * IMPORT_CACHE_RACY_MS)
    expect((await importTree()).written).toBeLessThanOrEqual(3)
    expect((await importTree()).written).toBe(0)
  })

  test('finds out a change of the same size whose mtime was set back', async () => {
    await importTree()
    const { atime, mtime } = await stat(file(5))
    await writeFile(file(5), 'CONTENTS 5')
    await utimes(file(5), atime, mtime)
    // Compared with an import that remembers nothing.
    expect((await importTree()).written).toBe(1)
  })

  test('reads again what had changed right before it was read', async () => {
    vi.useRealTimers()
    await importTree()
    expect((await importTree()).written).toBe(FILES)
  })

  test('sends everything to a store that does not have it', async () => {
    await importTree()
    newStore()
    expect((await importTree()).written).toBe(FILES)
  })

  test('notices each blob that a store of files or packs has lost, and stores it again', async () => {
    await writeFile(file(0), pseudoRandom(3_000_000, 1))
    for (const open of [openFileObjectStore, openPackedObjectStore]) {
      cacheFolder = join(folder.path, 'home', open.name)
      const objects = await open(join(folder.path, open.name))
      blobs = verifyingBlobService(objectStoreBlobService(objects), 'the store')
      expect(blobs.hasMany).toBeDefined()
      const root = (await importTree()).pathInfo.node
      for (const [i, size] of [
        [0, 3_000_000],
        [1, 10],
        [FILES - 1, 11],
      ] as const) {
        const contents = await readFile(file(i))
        expect(contents).toHaveLength(size)
        await objects.delete(blobKey(Digest.of(contents)))
        await objects.delete(chunkKey(Digest.of(contents)))
        expect(await blobs.has(Digest.of(contents))).toBe(false)
        expect((await importTree()).pathInfo.node).toEqual(root)
        expect(Buffer.compare((await readBlob(blobs, Digest.of(contents), size))!, contents)).toBe(0)
      }
      if (Symbol.asyncDispose in objects) await objects[Symbol.asyncDispose]()
    }
  })

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['is empty', () => Buffer.alloc(0)],
    ['is cut', (bytes) => bytes.subarray(0, bytes.length - 72)],
    ['goes on', (bytes) => Buffer.concat([bytes, bytes])],
    ['has a flipped bit in a digest', (bytes) => flipped(bytes, bytes.length - 40)],
    ['has a flipped bit in the NAR hash', (bytes) => flipped(bytes, 60)],
    ['is of another version', (bytes) => flipped(bytes, 7)],
    ['is something else', () => Buffer.from('tvxsimp1, or so it says')],
  ])('does not believe a cache that %s, and writes a new one', async (_, damage) => {
    await importTree()
    const path = await cacheFile()
    await writeFile(path, damage(await readFile(path)))
    expect((await importTree()).written).toBe(FILES)
    expect((await importTree()).written).toBe(0)
  })

  test('may be two at once', async () => {
    await Promise.all([importTree(), importTree(), importTree()])
    await cacheFile()
    written = 0
    await importTree()
    expect(written).toBe(0)
  })

  test('works where nothing can be remembered', async () => {
    await writeFile(join(folder.path, 'home'), 'a file where a folder should be')
    expect((await importTree()).written).toBe(FILES)
    expect((await importTree()).written).toBe(FILES)
    cacheFolder = '/proc/no/such/folder'
    expect((await importTree()).written).toBe(FILES)
  })
})

describe('ingesting a tree, for its contents only', () => {
  async function ingest(): Promise<number> {
    written = 0
    await ingestDirectory({ blobs, directories }, tree, { sizeFormula: 'rust', cacheFolder })
    return written
  }

  test('spares the next ingestion and the next import, which computes the NAR that is not known', async () => {
    expect(await ingest()).toBe(FILES)
    expect(await ingest()).toBe(0)
    expect((await importTree()).written).toBe(0)
  })

  test('leaves the NAR that an import found out, for as long as it is that of the tree', async () => {
    await importTree()
    const before = await readFile(await cacheFile())
    expect(await ingest()).toBe(0)
    expect(await readFile(await cacheFile())).toEqual(before)
    await writeFile(file(2), 'changed')
    expect(await ingest()).toBe(1)
    expect((await importTree()).written).toBe(0)
  })
})

describe('the NAR of a tree that is imported', () => {
  test('is right with large files between small ones, on the first import and the next', async () => {
    for (const [i, size] of [3_000_000, 1, 1_048_576, 1_048_577, 0].entries())
      await writeFile(join(tree, `file-1${i}-large`), pseudoRandom(size, i))
    const first = await importTree()
    expect(first.written).toBe(FILES + 5)
    await writeFile(file(2), 'changed')
    expect((await importTree()).written).toBe(1)
  })

  test('keeps nobody waiting when something fails', async () => {
    await writeFile(join(tree, 'large'), pseudoRandom(3_000_000, 1))
    const base = blobs
    for (let nth = 1; nth <= FILES + 1; nth++) {
      newStore()
      const failing: BlobService = {
        ...blobs,
        openWrite(call) {
          if (written + 1 === nth) throw new StoreError('unavailable', 'the test makes this call fail')
          return blobs.openWrite(call)
        },
      }
      written = 0
      const services = { blobs: failing, directories, pathInfos: memoryPathInfoService() }
      const importing = importPath(services, tree, { sizeFormula: 'rust', cacheFolder })
      await expect(importing, `nth = ${nth}`).rejects.toMatchObject({ code: 'unavailable' })
    }
    blobs = base
    await importTree()
  })
})

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 1
  return copy
}

test('what others remember is theirs alone, and the oldest goes when it is too much', async () => {
  await mkdir(cacheFolder, { recursive: true })
  for (const [i, name] of ['oldest', 'older', '.temp'].entries()) {
    await writeFile(join(cacheFolder, name), '')
    await truncate(join(cacheFolder, name), Math.floor(IMPORT_CACHE_BYTES_MAX * 0.7))
    await utimes(join(cacheFolder, name), 1_000 + i, 1_000 + i)
  }
  await importTree()
  const names = await readdir(cacheFolder)
  expect(names).toContain('older')
  expect(names).not.toContain('oldest')
  expect(names).not.toContain('.temp')
  expect(names).toHaveLength(2)
  const mine = names.find((name) => name !== 'older')!
  expect((await stat(join(cacheFolder, mine))).mode & 0o777).toBe(0o600)
})
