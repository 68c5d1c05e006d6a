/** The suites of the three services on every layer, and what the layers promise beyond them when a side fails. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import { cacheBlobService } from '../../src/services/blobs/cache.ts'
import { combinedBlobService } from '../../src/services/blobs/combined.ts'
import { openDiskCache } from '../../src/services/blobs/disk-cache.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { priorityBlobService } from '../../src/services/blobs/priority.ts'
import { readOnlyBlobService } from '../../src/services/blobs/read-only.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { writeBackBlobService } from '../../src/services/blobs/write-back.ts'
import { writeThroughBlobService } from '../../src/services/blobs/write-through.ts'
import { cacheDirectoryService } from '../../src/services/directories/cache.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { lruDirectoryService } from '../../src/services/directories/lru.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { priorityDirectoryService } from '../../src/services/directories/priority.ts'
import { readOnlyDirectoryService } from '../../src/services/directories/read-only.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { writeBackDirectoryService } from '../../src/services/directories/write-back.ts'
import { writeThroughDirectoryService } from '../../src/services/directories/write-through.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { openPackedObjectStore } from '../../src/services/objects/packs.ts'
import { cachePathInfoService } from '../../src/services/pathinfos/cache.ts'
import type { PathInfoService } from '../../src/services/pathinfos/interface.ts'
import { lruPathInfoService } from '../../src/services/pathinfos/lru.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { priorityPathInfoService } from '../../src/services/pathinfos/priority.ts'
import { readOnlyPathInfoService } from '../../src/services/pathinfos/read-only.ts'
import { signingPathInfoService } from '../../src/services/pathinfos/signing.ts'
import { writeBackPathInfoService } from '../../src/services/pathinfos/write-back.ts'
import { writeThroughPathInfoService } from '../../src/services/pathinfos/write-through.ts'
import { type Source, SourceSet } from '../../src/services/source-set.ts'
import { openWriteQueue, type WriteQueue } from '../../src/services/write-queue.ts'
import { methodsOf } from '../support/blob-methods.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { makeSigningKey } from '../support/signing-keys.ts'
import { tempDir } from '../support/temp-dir.ts'
import { blobServiceSuite } from './blob-service.ts'
import { directoryServiceSuite } from './directory-service.ts'
import { pathInfoServiceSuite } from './path-info-service.ts'
import { nothingToClean } from './suite.ts'

interface Two<S> {
  readonly near: Source<S>
  readonly far: Source<S>
  readonly set: SourceSet<S>
}

function two<S>(make: () => S): Two<S> {
  const near = { name: 'near', service: make() }
  const far = { name: 'far', service: make() }
  return { near, far, set: new SourceSet([near, far]) }
}

// — Blobs —

const chunked = () => objectStoreBlobService(memoryObjectStore())
const verified = (make: () => BlobService) => () => verifyingBlobService(make(), 'a side')

/** Reads of the one, writes of the other. */
function writtenTo(reads: BlobService, writes: BlobService): BlobService {
  return { ...methodsOf(reads), openWrite: (call) => writes.openWrite(call) }
}

const blobLayers: Readonly<Record<string, (sides: Two<BlobService>) => BlobService>> = {
  'read-only, written below': ({ near }) =>
    writtenTo(readOnlyBlobService(near.service, 'near'), near.service),
  combined: ({ near, set }) => combinedBlobService(near.service, set),
  'combined, written to the second': ({ near, far, set }) =>
    writtenTo(combinedBlobService(near.service, set), far.service),
  'priority, written to the second': ({ far, set }) => writtenTo(priorityBlobService(set), far.service),
  cache: ({ near, far, set }) => cacheBlobService(near, far, set),
  'cache, written to far': ({ near, far, set }) => writtenTo(cacheBlobService(near, far, set), far.service),
  'write-through': ({ near, far, set }) =>
    writeThroughBlobService(cacheBlobService(near, far, set), near, far, set),
}

for (const [name, layer] of Object.entries(blobLayers))
  for (const [below, make, chunks] of [
    ['memory', memoryBlobService, 'whole'],
    ['object stores', chunked, 'content-defined'],
  ] as const)
    blobServiceSuite(
      `blob service: ${name}, over ${below}`,
      nothingToClean(() => verifyingBlobService(layer(two(verified(make))), name)),
      { chunks },
    )

/** Packs for both sides, each in a folder of its own. */
async function twoInPacks() {
  const dir = await tempDir()
  const [near, far] = [
    await openPackedObjectStore(join(dir.path, 'near')),
    await openPackedObjectStore(join(dir.path, 'far')),
  ]
  const unused = [far, near]
  return {
    sides: two(() => verifyingBlobService(objectStoreBlobService(unused.pop()!), 'a side')),
    async [Symbol.asyncDispose]() {
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

for (const [name, layer] of Object.entries(blobLayers))
  blobServiceSuite(
    `blob service: ${name}, over packs`,
    async () => {
      const { sides, [Symbol.asyncDispose]: dispose } = await twoInPacks()
      return { subject: verifyingBlobService(layer(sides), name), [Symbol.asyncDispose]: dispose }
    },
    { chunks: 'content-defined' },
  )

for (const [below, make, chunks] of [
  ['memory', memoryBlobService, 'whole'],
  ['object stores', chunked, 'content-defined'],
] as const)
  blobServiceSuite(
    `blob service: cache folder, over ${below}`,
    async () => {
      const dir = await tempDir()
      const { far, set } = two(verified(make))
      const cache = await openDiskCache(far, { path: dir.path, bytesMax: 1e9, faults: set })
      return {
        subject: verifyingBlobService(cache, 'cache'),
        async [Symbol.asyncDispose]() {
          await cache[Symbol.asyncDispose]()
          await dir[Symbol.asyncDispose]()
        },
      }
    },
    { chunks },
  )

/** A queue in a folder of its own, and what is made with it. */
async function withQueue<S>(make: (queue: WriteQueue) => S) {
  const dir = await tempDir()
  const queue = await openWriteQueue(join(dir.path, 'queue.lmdb'))
  return {
    subject: make(queue),
    async [Symbol.asyncDispose]() {
      await queue[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

for (const [below, make, chunks] of [
  ['memory', memoryBlobService, 'whole'],
  ['object stores', chunked, 'content-defined'],
] as const)
  blobServiceSuite(
    `blob service: write-back, over ${below}`,
    () =>
      withQueue((queue) => {
        const { near, far, set } = two(verified(make))
        return verifyingBlobService(writeBackBlobService(priorityBlobService(set), near, far, queue), 'both')
      }),
    { chunks },
  )

directoryServiceSuite(
  'directory service: write-back',
  () =>
    withQueue((queue) => {
      const { near, far, set } = two(() => verifyingDirectoryService(memoryDirectoryService(), 'a side'))
      return writeBackDirectoryService(priorityDirectoryService(set), near, far, queue)
    }),
  { singlePuts: 'any' },
)

pathInfoServiceSuite('path info service: write-back', () =>
  withQueue((queue) => {
    const { near, far, set } = two(memoryPathInfoService)
    return writeBackPathInfoService(priorityPathInfoService(set), near, far, queue)
  }),
)

// — Directories —

function putTo(reads: DirectoryService, writes: DirectoryService): DirectoryService {
  return {
    get: (digest, call) => reads.get(digest, call),
    getRecursive: (digest, call) => reads.getRecursive(digest, call),
    put: (directory, call) => writes.put(directory, call),
    startPutter: (call) => writes.startPutter(call),
  }
}

const directoryLayers: Readonly<Record<string, (sides: Two<DirectoryService>) => DirectoryService>> = {
  'read-only, written below': ({ near }) =>
    putTo(readOnlyDirectoryService(near.service, 'near'), near.service),
  'priority, written to the second': ({ far, set }) => putTo(priorityDirectoryService(set), far.service),
  'cache, written to far': ({ near, far, set }) => putTo(cacheDirectoryService(near, far, set), far.service),
  'cache with a tiny lru, written to far': ({ far, set }) => {
    const near = { name: 'lru', service: lruDirectoryService(2) }
    return putTo(cacheDirectoryService(near, far, set), far.service)
  },
  'write-through': ({ near, far, set }) =>
    writeThroughDirectoryService(cacheDirectoryService(near, far, set), near, far, set),
}

directoryServiceSuite(
  'directory service: lru',
  nothingToClean(() => verifyingDirectoryService(lruDirectoryService(100_000), 'lru')),
  { singlePuts: 'forgotten' },
)

for (const [name, layer] of Object.entries(directoryLayers))
  directoryServiceSuite(
    `directory service: ${name}`,
    nothingToClean(() =>
      verifyingDirectoryService(
        layer(two(() => verifyingDirectoryService(memoryDirectoryService(), 'a side'))),
        name,
      ),
    ),
    { singlePuts: 'any' },
  )

// — Path infos —

function infoPutTo(reads: PathInfoService, writes: PathInfoService): PathInfoService {
  return {
    get: (hash, call) => reads.get(hash, call),
    list: (call) => reads.list(call),
    put: (pathInfo, call) => writes.put(pathInfo, call),
  }
}

/** What is signed differs from what was put by just that. */
function unsigned(base: PathInfoService, keyName: string): PathInfoService {
  const without = (pathInfo: PathInfo): PathInfo => {
    const others = pathInfo.signatures.filter((signature) => signature.keyName !== keyName)
    assert.equal(others.length, pathInfo.signatures.length - 1, 'signed once')
    return { ...pathInfo, signatures: others }
  }
  return {
    async get(hash, call) {
      const found = await base.get(hash, call)
      return found && without(found)
    },
    put: async (pathInfo, call) => without(await base.put(pathInfo, call)),
    async *list(call) {
      for await (const pathInfo of base.list(call)) yield without(pathInfo)
    },
  }
}

const pathInfoLayers: Readonly<Record<string, (sides: Two<PathInfoService>) => PathInfoService>> = {
  lru: () => lruPathInfoService(100_000),
  'keyfile-signing, less its own signatures': ({ near }) => {
    const name = 'layers-1'
    return unsigned(signingPathInfoService(near.service, [makeSigningKey(name)]), name)
  },
  'cache, written to far': ({ near, far, set }) =>
    infoPutTo(cachePathInfoService(near, far, set), far.service),
  'read-only, written below': ({ near }) =>
    infoPutTo(readOnlyPathInfoService(near.service, 'near'), near.service),
  'priority, written to the second': ({ far, set }) => infoPutTo(priorityPathInfoService(set), far.service),
  'write-through': ({ near, far, set }) =>
    writeThroughPathInfoService(cachePathInfoService(near, far, set), near, far, set),
}

for (const [name, layer] of Object.entries(pathInfoLayers))
  pathInfoServiceSuite(
    `path info service: ${name}`,
    nothingToClean(() => layer(two(memoryPathInfoService))),
  )

describe('an LRU of path infos', () => {
  it('holds no more than its capacity, and the ones used last', async () => {
    const lru = lruPathInfoService(2)
    const [one, two, three] = ['one', 'two', 'three'].map((name) => makePathInfo(name))
    await lru.put(one!)
    await lru.put(two!)
    await lru.get(one!.storePath.digest)
    await lru.put(three!)
    expect(await lru.get(two!.storePath.digest)).toBeUndefined()
    assert.ok(await lru.get(one!.storePath.digest))
  })
})

describe('layers that take no writes', () => {
  it('say so, with the code for it', async () => {
    const sides = two(memoryPathInfoService)
    const put = cachePathInfoService(sides.near, sides.far, sides.set).put(makePathInfo('x'))
    await expect(put).rejects.toMatchObject({ code: 'unimplemented' })
    await expect(
      readOnlyPathInfoService(sides.far.service, 'far').put(makePathInfo('x')),
    ).rejects.toMatchObject({ code: 'denied' })
    expect(() => priorityBlobService(two(memoryBlobService).set).openWrite()).toThrow(/only be read/)
  })
})
