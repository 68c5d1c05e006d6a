import { execFileSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { chmod, mkdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Digest } from '../../../src/model/castore/digest.ts'
import type { Directory } from '../../../src/model/castore/directory.ts'
import type { Node } from '../../../src/model/castore/node.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { readBlob } from '../../../src/services/blobs/read-blob.ts'
import type { DirectoryService } from '../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { StoreError } from '../../../src/support/errors.ts'
import {
  INGEST_FILES_MAX,
  SMALL_BLOB_BYTES_MAX,
  UPLOAD_UNASKED_BYTES_MAX,
} from '../../../src/support/limits.ts'
import { ingestTree } from '../../../src/transfer/ingest-tree.ts'
import { tempDir as makeTempDir } from '../../support/temp-dir.ts'
import { vectors } from '../../support/vectors.ts'

let folder: Awaited<ReturnType<typeof makeTempDir>>
const tempDir = () => folder.path
let blobs: BlobService
let directories: DirectoryService

beforeEach(async () => {
  folder = await makeTempDir()
  blobs = memoryBlobService()
  directories = memoryDirectoryService()
})

afterEach(() => folder[Symbol.asyncDispose]())

function ingest(path: string, using: { blobs?: BlobService; signal?: AbortSignal } = {}): Promise<Node> {
  return ingestTree({ blobs: using.blobs ?? blobs, directories }, path, {
    sizeFormula: 'rust',
    signal: using.signal,
  })
}

async function failure(work: Promise<unknown>): Promise<StoreError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(StoreError)
  return error as StoreError
}

describe('vectors of import.fs_import', () => {
  test('a symlink, which is not followed', async () => {
    const path = join(tempDir(), 'doesntmatter')
    await symlink('/nix/store/somewhereelse', path)
    expect(await ingest(path)).toEqual({ kind: 'symlink', target: Buffer.from('/nix/store/somewhereelse') })
  })

  test('a single file', async () => {
    const path = join(tempDir(), 'file')
    await writeFile(path, 'Hello World!')
    const node = await ingest(path)
    expect(node).toMatchObject({ kind: 'file', size: 12n, executable: false })
    const { digest } = node as Extract<Node, { kind: 'file' }>
    expect(digest.hex).toBe('5ca7815adcb484e9a136c11efe69c1d530176d549b5d18d038eb5280b4b3470c')
    expect(Buffer.from((await readBlob(blobs, digest, 12))!).toString()).toBe('Hello World!')
  })

  test('the directory of the fixtures, with its sub-directory and blobs', async () => {
    const path = join(tempDir(), 'tree')
    await mkdir(join(path, 'keep'), { recursive: true })
    await writeFile(join(path, '.keep'), '')
    await writeFile(join(path, 'keep', '.keep'), '')
    await symlink('/nix/store/somewhereelse', join(path, 'aa'))
    const fixture = vectors.directories.fixtures.find(
      ({ name }: { name: string }) => name === 'DIRECTORY_COMPLICATED',
    )
    const node = await ingest(path)
    if (node.kind !== 'directory') throw new Error(node.kind)
    expect(node.digest.hex).toBe(fixture.rust.digest_hex)
    expect(node.size).toBe(BigInt(fixture.rust.size))
    const found: Directory[] = []
    for await (const directory of directories.getRecursive(node.digest)) found.push(directory)
    expect(found).toHaveLength(2)
    expect(await blobs.has(Digest.of(new Uint8Array()))).toBe(true)
  })
})

test('only the bit of the owner makes a file executable', async () => {
  const path = join(tempDir(), 'tree')
  await mkdir(path)
  for (const mode of [0o644, 0o755, 0o700, 0o611]) {
    await writeFile(join(path, `m${mode.toString(8)}`), 'x')
    await chmod(join(path, `m${mode.toString(8)}`), mode)
  }
  const node = await ingest(path)
  if (node.kind !== 'directory') throw new Error(node.kind)
  const directory = (await directories.get(node.digest))!
  const executable = directory.entries.map((entry) => entry.node.kind === 'file' && entry.node.executable)
  expect(executable).toEqual([false, false, true, true]) // m611, m644, m700, m755
})

test.each([
  SMALL_BLOB_BYTES_MAX - 1,
  SMALL_BLOB_BYTES_MAX,
  SMALL_BLOB_BYTES_MAX + 1,
  3 * SMALL_BLOB_BYTES_MAX + 7,
])('a file of %d bytes arrives whole', async (size) => {
  const path = join(tempDir(), 'file')
  const contents = Buffer.alloc(size, 'some contents, ')
  await writeFile(path, contents)
  expect(await ingest(path)).toMatchObject({ digest: Digest.of(contents), size: BigInt(size) })
  expect(await blobs.has(Digest.of(contents))).toBe(true)
})

test('a special file is refused by name and type', async () => {
  const path = join(tempDir(), 'tree')
  await mkdir(path)
  execFileSync('mkfifo', [join(path, 'pipe')])
  const error = await failure(ingest(path))
  expect(error.code).toBe('invalid-argument')
  expect(error.message).toContain(`unsupported file type at ${path}/pipe: fifo`)
})

test('what does not exist is told by name', async () => {
  const error = await failure(ingest(join(tempDir(), 'nothing')))
  expect(error.code).toBe('not-found')
  expect(error.message).toContain('nothing')
})

describe('a file that changes while it is read', () => {
  /** A service that lets `change` happen at the first write, when the file is open and partly read. */
  function duringWrite(change: () => void | Promise<void>): BlobService {
    return {
      ...blobs,
      openWrite(call) {
        const writer = blobs.openWrite(call)
        let first = true
        return {
          ...writer,
          async write(bytes) {
            if (first) await change()
            first = false
            await writer.write(bytes)
          },
          close: () => writer.close(),
          abort: () => writer.abort(),
        }
      },
    }
  }

  async function largeFile(): Promise<string> {
    const path = join(tempDir(), 'large')
    await writeFile(path, Buffer.alloc(2 * SMALL_BLOB_BYTES_MAX, 1))
    return path
  }

  test('growing is an error', async () => {
    const path = await largeFile()
    const error = await failure(ingest(path, { blobs: duringWrite(() => appendFileSync(path, 'more')) }))
    expect(error.code).toBe('precondition')
    expect(error.message).toContain(`${path} changed while it was read`)
  })

  test('shrinking is an error', async () => {
    const path = await largeFile()
    const shrink = () => writeFile(path, 'less')
    expect((await failure(ingest(path, { blobs: duringWrite(shrink) }))).code).toBe('precondition')
  })

  test('other contents of the same size are an error', async () => {
    const path = await largeFile()
    const rewrite = () => utimes(path, 1, 1)
    expect((await failure(ingest(path, { blobs: duringWrite(rewrite) }))).code).toBe('precondition')
  })

  test('nobody touching it is none', async () => {
    const path = await largeFile()
    await expect(ingest(path, { blobs: duringWrite(() => {}) })).resolves.toMatchObject({ kind: 'file' })
  })
})

/** Large enough that a store is asked whether it has it before it is sent. */
const asked = (text: string) => text.padEnd(UPLOAD_UNASKED_BYTES_MAX + 1)

test('equal contents are uploaded once, and no more files are open than the limit', async () => {
  const path = join(tempDir(), 'tree')
  await mkdir(path)
  for (let i = 0; i < 200; i++) await writeFile(join(path, `f${i}`), asked(`contents ${i % 100}`))
  let writers = 0
  let active = 0
  let most = 0
  const counting: BlobService = {
    ...blobs,
    has: async (digest, call) => {
      active++
      most = Math.max(most, active)
      await new Promise((resolve) => setImmediate(resolve))
      active--
      return await blobs.has(digest, call)
    },
    openWrite: (call) => {
      writers++
      return blobs.openWrite(call)
    },
  }
  await ingest(path, { blobs: counting })
  expect(writers).toBe(100)
  expect(most).toBeGreaterThan(1)
  expect(most).toBeLessThanOrEqual(INGEST_FILES_MAX)
})

test('an abort ends it, and a failing upload too, with its own error', async () => {
  const path = join(tempDir(), 'tree')
  await mkdir(path)
  for (let i = 0; i < 100; i++) await writeFile(join(path, `f${i}`), asked(`contents ${i}`))
  const controller = new AbortController()
  const others = {
    chunks: blobs.chunks.bind(blobs),
    openRead: blobs.openRead.bind(blobs),
    openWrite: blobs.openWrite.bind(blobs),
  }
  const aborting: BlobService = {
    ...others,
    has: async (digest, call) => {
      controller.abort()
      return await blobs.has(digest, call)
    },
  }
  expect((await failure(ingest(path, { blobs: aborting, signal: controller.signal }))).code).toBe('cancelled')
  const failing: BlobService = {
    ...others,
    has: () => Promise.reject(new StoreError('unavailable', 'the store is away')),
  }
  expect((await failure(ingest(path, { blobs: failing }))).message).toContain('the store is away')
})
