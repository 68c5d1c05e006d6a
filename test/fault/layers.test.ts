/**
 * What layers promise while a side of theirs fails: the right bytes or an error, never another's bytes and never a
 * false "absent". Each promise is a case that is also run on layers which are broken on purpose.
 */
import assert from 'node:assert/strict'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { cacheBlobService } from '../../src/services/blobs/cache.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { priorityBlobService } from '../../src/services/blobs/priority.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { cacheDirectoryService } from '../../src/services/directories/cache.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { priorityDirectoryService } from '../../src/services/directories/priority.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { cachePathInfoService } from '../../src/services/pathinfos/cache.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { SourceSet } from '../../src/services/source-set.ts'
import { type ErrorCode, StoreError } from '../../src/support/errors.ts'
import { brokenCases, type Case, nothingToClean, runCases } from '../conformance/suite.ts'
import { methodsOf } from '../support/blob-methods.ts'
import { collect } from '../support/collect.ts'
import { chain } from '../support/directories.ts'
import { type FaultyBlobs, faultyBlobs } from '../support/faulty-blobs.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'

const LARGE = pseudoRandom(3_000_000, 11)
const SMALL = pseudoRandom(3_000, 12)

interface Sides {
  readonly first: FaultyBlobs
  readonly second: FaultyBlobs
  readonly blobs: BlobService
}

type Layer = (first: BlobService, second: BlobService) => BlobService

const chunked = () => objectStoreBlobService(memoryObjectStore())

function sides(layer: Layer, make: () => BlobService = chunked): Sides {
  const first = faultyBlobs(make())
  const second = faultyBlobs(make())
  return { first, second, blobs: layer(first, second) }
}

function setOf(first: BlobService, second: BlobService) {
  const near = { name: 'first', service: verifyingBlobService(first, 'first') }
  const far = { name: 'second', service: verifyingBlobService(second, 'second') }
  return { near, far, set: new SourceSet<BlobService>([near, far], { timeoutMs: 300 }) }
}

const priority: Layer = (first, second) =>
  verifyingBlobService(priorityBlobService(setOf(first, second).set), 'priority')

const cache: Layer = (first, second) => {
  const { near, far, set } = setOf(first, second)
  return verifyingBlobService(cacheBlobService(near, far, set), 'cache')
}

async function store(blobs: BlobService, contents: Uint8Array): Promise<Digest> {
  const writer = blobs.openWrite()
  await writer.write(contents)
  return await writer.close()
}

async function assertReads(blobs: BlobService, contents: Uint8Array): Promise<void> {
  const found = await readBlob(blobs, Digest.of(contents))
  assert.ok(found, 'absent')
  assert.equal(Buffer.compare(found, contents), 0, 'other bytes')
}

async function assertFails(work: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  await assert.rejects(
    work,
    (error) => error instanceof StoreError && (codes.length === 0 || codes.includes(error.code)),
  )
}

/** For every layer that reads from two sources of the same. */
const readCases: readonly Case<Sides>[] = [
  {
    title: 'reads on from the second when the first breaks off, wherever it does',
    async run({ first, second, blobs }) {
      for (const side of [first, second]) await store(side, LARGE)
      for (const after of [0, 1, 100_000, 300_000, 1_500_000, LARGE.length - 1]) {
        first.breaksAfter = after
        await assertReads(blobs, LARGE)
      }
    },
  },
  {
    title: 'reads from the second while the first is dead',
    async run({ first, second, blobs }) {
      for (const contents of [LARGE, SMALL]) await store(second, contents)
      first.dead = true
      for (const contents of [LARGE, SMALL]) await assertReads(blobs, contents)
      assert.equal(await blobs.has(Digest.of(SMALL)), true)
    },
  },
  {
    title: 'reads from the first while the second is dead',
    async run({ first, second, blobs }) {
      for (const contents of [LARGE, SMALL]) await store(first, contents)
      second.dead = true
      for (const contents of [LARGE, SMALL]) await assertReads(blobs, contents)
      assert.equal(await blobs.has(Digest.of(SMALL)), true)
    },
  },
  {
    title: 'never says absent while a side cannot answer',
    async run({ first, second, blobs }) {
      for (const dead of [first, second]) {
        dead.dead = true
        await assertFails(blobs.has(Digest.of(SMALL)), 'unavailable')
        await assertFails(blobs.chunks(Digest.of(SMALL)), 'unavailable')
        await assertFails(readBlob(blobs, Digest.of(SMALL)), 'unavailable')
        dead.dead = false
      }
      assert.equal(await blobs.has(Digest.of(SMALL)), false)
      assert.equal(await blobs.openRead(Digest.of(SMALL)), undefined)
    },
  },
  {
    title: 'passes over a first side that is corrupt',
    async run({ first, second, blobs }) {
      for (const side of [first, second]) await store(side, SMALL)
      first.lies = true
      await assertReads(blobs, SMALL)
      await assertReads(blobs, SMALL)
    },
  },
  {
    title: 'hands out no wrong byte when both are corrupt, or one is and the other is gone',
    async run({ first, second, blobs }) {
      for (const side of [first, second]) for (const each of [SMALL, LARGE]) await store(side, each)
      first.lies = true
      second.lies = true
      for (const each of [SMALL, LARGE]) await assertFails(readBlob(blobs, Digest.of(each)), 'corrupt')
      second.lies = false
      second.dead = true
      for (const each of [SMALL, LARGE]) await assertFails(readBlob(blobs, Digest.of(each)))
    },
  },
]

const cacheCases: readonly Case<Sides>[] = [
  {
    title: 'asks far once, and never again',
    async run({ second, blobs }) {
      for (const each of [SMALL, LARGE]) await store(second, each)
      for (const each of [SMALL, LARGE]) await assertReads(blobs, each)
      const before = { ...second.asked }
      for (const each of [SMALL, LARGE]) await assertReads(blobs, each)
      assert.deepEqual(second.asked, before)
      second.dead = true
      for (const each of [SMALL, LARGE]) await assertReads(blobs, each)
    },
  },
  {
    title: 'fetches once what many ask for at the same time',
    async run({ second, blobs }) {
      await store(second, SMALL)
      await Promise.all(Array.from({ length: 16 }, () => assertReads(blobs, SMALL)))
      assert.equal(second.asked.openRead, 1)
    },
  },
  {
    title: 'keeps nothing of what far could not prove',
    async run({ first, second, blobs }) {
      for (const each of [SMALL, LARGE]) await store(second, each)
      second.lies = true
      for (const each of [SMALL, LARGE]) await assertFails(readBlob(blobs, Digest.of(each)), 'corrupt')
      second.lies = false
      second.breaksAfter = 1_000
      await assertFails(readBlob(blobs, Digest.of(SMALL)), 'unavailable')
      second.breaksAfter = undefined
      for (const each of [SMALL, LARGE]) assert.equal(await first.has(Digest.of(each)), false)
      for (const each of [SMALL, LARGE]) await assertReads(blobs, each)
    },
  },
]

/** A blob that can only be had as a whole is copied before it is handed out. */
const chunkedCacheCases: readonly Case<Sides>[] = [
  {
    title: 'keeps nothing of a read that was left early',
    async run({ first, second, blobs }) {
      await store(second, LARGE)
      for await (const _ of (await blobs.openRead(Digest.of(LARGE)))!) break
      assert.equal(await first.has(Digest.of(LARGE)), false)
      await assertReads(blobs, LARGE)
      assert.equal(await first.has(Digest.of(LARGE)), true)
    },
  },
]

const layers: Readonly<Record<string, readonly [Layer, readonly Case<Sides>[]]>> = {
  priority: [priority, readCases],
  cache: [cache, [...readCases, ...cacheCases]],
}

for (const [name, [layer, cases]] of Object.entries(layers)) {
  runCases(
    `${name}, with chunks, under faults`,
    name === 'cache' ? [...cases, ...chunkedCacheCases] : cases,
    nothingToClean(() => sides(layer)),
  )
  runCases(
    `${name}, without chunks, under faults`,
    cases,
    nothingToClean(() => sides(layer, memoryBlobService)),
  )
}

/** Layers that break one promise each. */
const breakages: Readonly<Record<string, Layer>> = {
  'says absent when a side failed': (first, second) => {
    const base = cache(first, second)
    return { ...methodsOf(base), has: (digest, call) => base.has(digest, call).catch(() => false) }
  },
  'starts over at the second side': (first, second) =>
    readingBy(first, second, async function* (digest, call) {
      try {
        yield* (await first.openRead(digest, call))!
      } catch {
        yield* (await second.openRead(digest, call))!
      }
    }),
  'verifies nothing': (first, second) => {
    const near = { name: 'first', service: first }
    const far = { name: 'second', service: second }
    return cacheBlobService(near, far, new SourceSet<BlobService>([near, far], { timeoutMs: 300 }))
  },
  'keeps nothing': (first, second) => {
    const base = priority(first, second)
    return { ...methodsOf(base), openWrite: (call) => first.openWrite(call) }
  },
}

function readingBy(
  first: BlobService,
  second: BlobService,
  read: (...args: Parameters<BlobService['openRead']>) => AsyncGenerator<Uint8Array>,
): BlobService {
  return { ...methodsOf(cache(first, second)), openRead: async (digest, call) => read(digest, call) }
}

describe('the cases catch a layer that', () => {
  for (const [title, layer] of Object.entries(breakages))
    it(title, async () => {
      const make = nothingToClean(() => sides(layer))
      expect(await brokenCases(layers['cache']![1], make, 20_000)).not.toEqual([])
    })
})

describe('a source that is slow', () => {
  it('is given up after its time, and the next one answers', async () => {
    const { first, second, blobs } = sides(priority)
    for (const side of [first, second]) await store(side, SMALL)
    first.hangs = true
    await assertReads(blobs, SMALL)
  })

  it('gets company once it takes longer than it usually does, for a tenth of the questions at most', async () => {
    const near = { name: 'first', service: faultyBlobs(memoryBlobService()) }
    const far = { name: 'second', service: faultyBlobs(memoryBlobService()) }
    const set = new SourceSet<BlobService>([near, far])
    const blobs = priorityBlobService(set)
    for (const { service } of [near, far]) await store(service, SMALL)
    for (let i = 0; i < 40; i++) await assertReads(blobs, SMALL)
    expect(set.stats.hedges).toBe(0)
    // Its time limit is half a minute: only a second question gets these answered before the test ends.
    near.service.hangs = true
    for (let i = 0; i < 8; i++) await assertReads(blobs, SMALL)
    expect(set.stats.hedges).toBe(8)
    expect(far.service.asked.openRead).toBe(8)
  })
})

describe('directories and path infos', () => {
  const closure = chain(20, 'layers')
  const root = closure.at(-1)!.digest
  const failing = () => {
    throw new StoreError('unavailable', 'the test has cut this source off')
  }
  const dead: DirectoryService = {
    get: async () => failing(),
    // biome-ignore lint/correctness/useYield: it fails first
    async *getRecursive() {
      failing()
    },
    put: async () => failing(),
    startPutter: failing,
  }

  async function filled(): Promise<DirectoryService> {
    const directories = memoryDirectoryService()
    const putter = directories.startPutter()
    for (const directory of closure) await putter.put(directory)
    await putter.close()
    return directories
  }

  function layersOver(nearService: DirectoryService, farService: DirectoryService) {
    const near = { name: 'near', service: nearService }
    const far = { name: 'far', service: farService }
    const set = new SourceSet<DirectoryService>([near, far])
    return { cache: cacheDirectoryService(near, far, set), priority: priorityDirectoryService(set), set }
  }

  it('are fetched as a whole closure with one call, once for all', async () => {
    const far = await filled()
    let walks = 0
    const counted: DirectoryService = {
      get: async () => failing(),
      getRecursive(digest, call) {
        walks++
        return far.getRecursive(digest, call)
      },
      put: dead.put,
      startPutter: dead.startPutter,
    }
    const { cache } = layersOver(memoryDirectoryService(), counted)
    await Promise.all(Array.from({ length: 8 }, () => cache.get(root)))
    for (const { digest } of closure) expect((await cache.get(digest))?.digest.hex).toBe(digest.hex)
    expect(walks).toBe(1)
  })

  it.each(['cache', 'priority'] as const)('%s: survive a first side that is gone', async (kind) => {
    const layer = layersOver(dead, await filled())[kind]
    expect((await layer.get(root))?.digest.hex).toBe(root.hex)
    expect(await collect(layer.getRecursive(root))).toHaveLength(20)
    const unknown = Digest.of(SMALL)
    await expect(layer.get(unknown)).rejects.toMatchObject({ code: 'unavailable' })
    await expect(collect(layer.getRecursive(unknown))).rejects.toMatchObject({ code: 'unavailable' })
  })

  it.each(['cache', 'priority'] as const)('%s: survive a second side that is gone', async (kind) => {
    const layer = layersOver(await filled(), dead)[kind]
    expect(await collect(layer.getRecursive(root))).toHaveLength(20)
    await expect(layer.get(Digest.of(SMALL))).rejects.toMatchObject({ code: 'unavailable' })
  })

  it.each(['cache', 'priority'] as const)('%s: go on where a walk breaks off', async (kind) => {
    const whole = await filled()
    const breaking: DirectoryService = {
      get: (digest, call) => whole.get(digest, call),
      put: dead.put,
      startPutter: dead.startPutter,
      async *getRecursive(digest, call) {
        let sent = 0
        for await (const directory of whole.getRecursive(digest, call)) {
          if (++sent > 5) failing()
          yield directory
        }
      },
    }
    const layer = layersOver(breaking, whole)[kind]
    const walked = await collect(layer.getRecursive(root))
    expect(walked.map(({ digest }) => digest.hex)).toEqual(
      closure.map(({ digest }) => digest.hex).toReversed(),
    )
  })

  it('path infos: absence needs both sides, and a near that fails is survived', async () => {
    const far = memoryPathInfoService()
    const known = makePathInfo('known')
    await far.put(known)
    const near = {
      get: async () => failing(),
      put: async () => failing(),
      list: () => failing(),
    }
    const [nearSource, farSource] = [
      { name: 'near', service: near },
      { name: 'far', service: far },
    ]
    const set = new SourceSet([nearSource, farSource])
    const cached = cachePathInfoService(nearSource, farSource, set)
    expect(await cached.get(known.storePath.digest)).toBeDefined()
    await expect(cached.get(makePathInfo('unknown').storePath.digest)).rejects.toMatchObject({
      code: 'unavailable',
    })
    expect(set.stats.failures['near']).toBe(3)
  })
})
