/** Rendering from a store on the local disk: the addon reads files in batches, and something is wrong with one of them. */
import assert from 'node:assert/strict'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Digest } from '../../../src/model/castore/digest.ts'
import { Directory } from '../../../src/model/castore/directory.ts'
import type { FileNode, Node } from '../../../src/model/castore/node.ts'
import { pathComponent } from '../../../src/model/castore/path-component.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { LocalChunks } from '../../../src/services/blobs/local-chunks.ts'
import { blobKey, chunkKey } from '../../../src/services/blobs/object-keys.ts'
import { objectStoreBlobService } from '../../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../../src/services/blobs/verifying.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { openFileObjectStore } from '../../../src/services/objects/file.ts'
import { utf8 } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import {
  NAR_BATCH_BYTES_MAX,
  NAR_BATCH_STEPS_MAX,
  NAR_BATCHES_MAX,
  NAR_LARGE_AHEAD_MAX,
  SMALL_BLOB_BYTES_MAX,
} from '../../../src/support/limits.ts'
import { type Contents, narRooms, renderNar } from '../../../src/transfer/render-nar.ts'
import { collect } from '../../support/collect.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { tempDir } from '../../support/temp-dir.ts'

const FILES = NAR_BATCH_STEPS_MAX
/** In the middle of a batch. */
const VICTIM = FILES >> 1

let dir: Awaited<ReturnType<typeof tempDir>>
let services: Contents
let node: Node
let files: FileNode[]
let nar: Buffer

beforeEach(async () => {
  dir = await tempDir()
  const local = LocalChunks.at(dir.path)
  assert(local, 'the addon is not built: npm run build:native')
  const objects = await openFileObjectStore(dir.path)
  const blobs = verifyingBlobService(objectStoreBlobService(objects, undefined, local), 'the store')
  services = { blobs, directories: memoryDirectoryService() }
  const contents = Array.from({ length: FILES }, (_, i) =>
    utf8(`contents of file ${i}, `.repeat(1 + (i % 40))),
  )
  files = await Promise.all(contents.map((bytes) => store(blobs, bytes)))
  // Batches that are on their way out before that one begins.
  const big = await store(blobs, pseudoRandom(NAR_BATCH_BYTES_MAX, 1))
  node = await directoryOf([...Array(2 * NAR_BATCHES_MAX).fill(big), ...files])
  nar = Buffer.concat(await collect(renderNar(services, node)))
})

afterEach(() => dir[Symbol.asyncDispose]())

async function store(blobs: BlobService, contents: Uint8Array): Promise<FileNode> {
  const writer = blobs.openWrite()
  await writer.write(contents)
  return { kind: 'file', digest: await writer.close(), size: BigInt(contents.length), executable: false }
}

async function directoryOf(nodes: readonly FileNode[]): Promise<Node> {
  const entries = nodes.map((file, i) => ({
    name: pathComponent(utf8(`f${String(i).padStart(5, '0')}`)),
    node: file,
  }))
  const directory = Directory.from(entries)
  await services.directories.put(directory)
  return { kind: 'directory', digest: directory.digest, size: directory.size('rust') }
}

const chunkPath = (digest: Digest) => join(dir.path, chunkKey(digest))

/** What was wrong, and what came before that. */
async function renderUntilError(what = services, root = node): Promise<{ error: unknown; before: Buffer }> {
  const pieces: Uint8Array[] = []
  try {
    for await (const piece of renderNar(what, root)) pieces.push(piece)
  } catch (error) {
    return { error, before: Buffer.concat(pieces) }
  }
  throw new Error('it was rendered to its end')
}

async function contentsOf(digest: Digest): Promise<Uint8Array> {
  return Buffer.concat(await collect((await services.blobs.openRead(digest))!))
}

const FAULTS: Record<string, (digest: Digest) => Promise<void>> = {
  async 'a false byte'(digest) {
    const contents = await contentsOf(digest)
    contents[contents.length >> 1]! ^= 1
    await writeFile(chunkPath(digest), zstdCompressSync(contents))
  },
  async 'a chunk that is cut'(digest) {
    await truncate(chunkPath(digest), (await readFile(chunkPath(digest))).length - 3)
  },
  async 'an empty chunk'(digest) {
    await truncate(chunkPath(digest), 0)
  },
  async 'contents of another file'(digest) {
    await writeFile(chunkPath(digest), await readFile(chunkPath(files[0]!.digest)))
  },
  async 'a chunk that is missing'(digest) {
    await rm(chunkPath(digest))
  },
  async 'a blob that is missing'(digest) {
    await rm(chunkPath(digest))
    await rm(join(dir.path, blobKey(digest)))
  },
}

describe('in the middle of a batch', () => {
  test.each(Object.entries(FAULTS))('%s is named, and nothing before it is wrong', async (_, spoil) => {
    const { digest } = files[VICTIM]!
    await spoil(digest)
    const { error, before } = await renderUntilError()
    expect(error).toMatchObject({ code: 'corrupt', message: expect.stringContaining(digest.toString()) })
    expect(before.length).toBeGreaterThan(NAR_BATCH_BYTES_MAX)
    expect(before.equals(nar.subarray(0, before.length))).toBe(true)
    // The same without the addon: who reads one by one is told the same.
    const slow = await renderUntilError({ ...services, blobs: withoutReadInto(services.blobs) })
    expect(slow.error).toMatchObject({ code: 'corrupt', message: (error as Error).message })
  })

  test('(and a renderer over a service that compares nothing is caught)', async () => {
    const { digest } = files[VICTIM]!
    await FAULTS['a false byte']!(digest)
    const local = LocalChunks.at(dir.path)!
    const blobs: BlobService = {
      ...withoutReadInto(services.blobs),
      async readInto(target, wanted) {
        const found = await local.read(wanted, narRooms)
        for (const [i, bytes] of found.entries()) if (bytes) target.set(bytes, wanted[i]!.offset)
        return wanted.filter((_, i) => !found[i])
      },
    }
    const rendered = Buffer.concat(await collect(renderNar({ ...services, blobs }, node)))
    expect(rendered.length).toBe(nar.length)
    expect(rendered.equals(nar)).toBe(false)
  })

  test('a blob whose chunk is there is rendered though its list is not', async () => {
    await rm(join(dir.path, blobKey(files[VICTIM]!.digest)))
    expect(Buffer.concat(await collect(renderNar(services, node))).equals(nar)).toBe(true)
  })
})

function withoutReadInto(blobs: BlobService): BlobService {
  return {
    has: (digest, call) => blobs.has(digest, call),
    chunks: (digest, call) => blobs.chunks(digest, call),
    openRead: (digest, call) => blobs.openRead(digest, call),
    openWrite: (call) => blobs.openWrite(call),
  }
}

test('files of every size, of one chunk and of several, small and large, side by side', async () => {
  const sizes = [
    0,
    1,
    7,
    8,
    9,
    65_536,
    0,
    300_000,
    SMALL_BLOB_BYTES_MAX,
    SMALL_BLOB_BYTES_MAX + 1,
    3_000_000,
    0,
    5,
  ]
  const nodes = []
  for (const size of [...sizes, ...sizes.toReversed()])
    nodes.push(await store(services.blobs, pseudoRandom(size, size)))
  for (const root of [...nodes, await directoryOf(nodes)]) {
    const fast = Buffer.concat(await collect(renderNar(services, root)))
    const slow = renderNar({ ...services, blobs: withoutReadInto(services.blobs) }, root)
    expect(fast.equals(Buffer.concat(await collect(slow)))).toBe(true)
  }
})

test('a reader who takes his time is not read ahead for without end', async () => {
  const big = await store(services.blobs, pseudoRandom(NAR_BATCH_BYTES_MAX, 1))
  const root = await directoryOf(Array(4 * NAR_BATCHES_MAX).fill(big))
  let [asked, running] = [0, 0]
  const blobs: BlobService = {
    ...withoutReadInto(services.blobs),
    async readInto(target, wanted, call) {
      asked += wanted.length
      running++
      const left = await services.blobs.readInto!(target, wanted, call)
      running--
      return left
    },
  }
  const pieces = renderNar({ ...services, blobs }, root)
  await pieces.next()
  do await new Promise(setImmediate)
  while (running > 0)
  expect(asked).toBeGreaterThan(0)
  expect(asked).toBeLessThanOrEqual(NAR_BATCHES_MAX + 1)
  await pieces.return(undefined)
  expect(running).toBe(0)
})

test('a call that is aborted ends, and nothing is written any more', async () => {
  const big = await store(services.blobs, pseudoRandom(NAR_BATCH_BYTES_MAX, 1))
  const root = await directoryOf(Array(4 * NAR_BATCHES_MAX).fill(big))
  const controller = new AbortController()
  const pieces = renderNar(services, root, { signal: controller.signal })
  await pieces.next()
  controller.abort(new StoreError('cancelled', 'not wanted any more'))
  const error = await collect(pieces).catch((reason) => reason)
  expect(error).toMatchObject({ code: 'cancelled', message: 'not wanted any more' })
})

test('pieces that are given back are empty for who kept them, and others stay what they were', async () => {
  const copied = async (giveBack: (piece: Uint8Array) => void) => {
    const [kept, copies]: Uint8Array[][] = [[], []]
    for await (const piece of renderNar(services, node)) {
      kept!.push(piece)
      copies!.push(Buffer.from(piece))
      giveBack(piece)
    }
    return { kept: kept!, copies: Buffer.concat(copies!) }
  }
  const used = await copied((piece) => narRooms.giveBack(piece))
  expect(used.copies.equals(nar)).toBe(true)
  // Or else nobody could use their memory again.
  expect(used.kept.filter(({ length }) => length === 0)).not.toHaveLength(0)
  const unused = await copied(() => {})
  await copied((piece) => narRooms.giveBack(piece))
  expect(Buffer.concat(unused.kept).equals(nar)).toBe(true)
})

test('a few large files are begun before their turn, and end with their reader', async () => {
  const large = await store(services.blobs, pseudoRandom(SMALL_BLOB_BYTES_MAX + 1, 2))
  const root = await directoryOf(Array(NAR_BATCHES_MAX).fill(large))
  let [begun, ended] = [0, 0]
  const blobs: BlobService = {
    ...withoutReadInto(services.blobs),
    readInto: (target, wanted, call) => services.blobs.readInto!(target, wanted, call),
    async openRead(digest, call) {
      begun++
      const stream = await services.blobs.openRead(digest, call)
      return (async function* () {
        try {
          yield* stream!
        } finally {
          ended++
        }
      })()
    },
  }
  const pieces = renderNar({ ...services, blobs }, root)
  await pieces.next()
  do await new Promise(setImmediate)
  while (begun < NAR_LARGE_AHEAD_MAX)
  expect(begun).toBe(NAR_LARGE_AHEAD_MAX)
  await pieces.return(undefined)
  expect({ begun, ended }).toEqual({ begun: NAR_LARGE_AHEAD_MAX, ended: NAR_LARGE_AHEAD_MAX })
  const whole = Buffer.concat(await collect(renderNar({ ...services, blobs }, root)))
  expect(whole.equals(Buffer.concat(await collect(renderNar(services, root))))).toBe(true)
  expect(ended).toBe(begun)
})

test('large files of a peer are opened in their turn', async () => {
  const large = await store(services.blobs, pseudoRandom(SMALL_BLOB_BYTES_MAX + 1, 2))
  const root = await directoryOf(Array(NAR_BATCHES_MAX).fill(large))
  let [open, openMax] = [0, 0]
  const blobs: BlobService = {
    ...withoutReadInto(services.blobs),
    async openRead(digest, call) {
      openMax = Math.max(openMax, ++open)
      const stream = await services.blobs.openRead(digest, call)
      return (async function* () {
        yield* stream!
        open--
      })()
    },
  }
  await collect(renderNar({ ...services, blobs }, root))
  expect(openMax).toBe(1)
})
