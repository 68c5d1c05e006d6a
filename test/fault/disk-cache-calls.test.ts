/**
 * Every call of the blob cache on disk goes wrong once: the k-th one to its folder, and the k-th one to the object store behind
 * it, for k = 1, 2, … until the scenario runs untouched. What fails in the folder costs time and nothing else, but for a large
 * blob that was handed out in part already; whatever fails behind it is told as what it is. Nobody gets a wrong byte, no file
 * stays open, and what was kept is right.
 */
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { type DiskCache, openDiskCache } from '../../src/services/blobs/disk-cache.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import type { ObjectStore } from '../../src/services/objects/interface.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import type { Call } from '../../src/support/call.ts'
import { StoreError } from '../../src/support/errors.ts'
import { until } from '../support/cli.ts'
import type { FileEffect } from '../support/faulty-files.ts'
import { type Effect, FaultyObjectStore, type Plan, TOLD_AS } from '../support/faulty-object-store.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { tempDir } from '../support/temp-dir.ts'

const files = await vi.hoisted(async () => new (await import('../support/faulty-files.ts')).FaultyFiles())
vi.mock('node:fs/promises', async (original) => files.over(await original()))

const SMALL = pseudoRandom(3_000, 31)
const LARGE = pseudoRandom(900_000, 32)

/** Has both; nobody writes to it again. */
const objects = memoryObjectStore()
beforeAll(async () => {
  for (const contents of [SMALL, LARGE]) {
    const writer = objectStoreBlobService(objects).openWrite()
    await writer.write(contents)
    await writer.close()
  }
})

class Wrong extends Error {}

function expectSame(found: Uint8Array | undefined, contents: Uint8Array, what: string): void {
  if (!found) throw new Wrong(`${what} is said to be absent`)
  if (Buffer.compare(found, contents) !== 0) throw new Wrong(`${what}: other bytes`)
}

/** Stacked as the program stacks them. */
async function openCache(
  path: string,
  objects: ObjectStore,
): Promise<{ cache: DiskCache; blobs: BlobService }> {
  const far = verifyingBlobService(objectStoreBlobService(objects), 'far')
  const cache = await openDiskCache({ name: 'far', service: far }, { path, bytesMax: 1e9 })
  return { cache, blobs: verifyingBlobService(cache, 'cache') }
}

/** As a mount reads: small blobs whole, large ones chunk by chunk, all of it twice. */
async function readAll(cache: DiskCache, blobs: BlobService, call: Call): Promise<void> {
  for (let time = 0; time < 2; time++) {
    for (const contents of [SMALL, LARGE])
      if (!(await blobs.has(Digest.of(contents), call))) throw new Wrong('a blob is said to be absent')
    expectSame(await readBlob(blobs, Digest.of(SMALL), SMALL.length, call), SMALL, 'the small one')
    const list = await blobs.chunks(Digest.of(LARGE), call)
    if (!list) throw new Wrong('the large one is said to be absent')
    let start = 0
    for (const { digest, size } of list) {
      const chunk = await readBlob(blobs, digest, size, call)
      expectSame(chunk, LARGE.subarray(start, start + size), `the chunk at ${start}`)
      start += size
    }
    await cache.settled()
  }
}

/** As a program passes it through, and as a NAR is made of it. */
async function readWhole(cache: DiskCache, blobs: BlobService, call: Call): Promise<void> {
  await using local = await cache.openLocalFile(Digest.of(LARGE), call)
  if (local && local.size !== LARGE.length) throw new Wrong('a file of another size is handed out')
  expectSame(await readBlob(blobs, Digest.of(LARGE), LARGE.length, call), LARGE, 'the large one')
}

describe('one call to the folder goes wrong', () => {
  /** False when the fault was never reached. */
  async function goesWrong(nth: number, effect: FileEffect): Promise<boolean> {
    const where = `k = ${nth}, ${effect}`
    await using dir = await tempDir()
    const path = join(dir.path, 'cache')
    const { cache, blobs } = await openCache(path, objects)
    files.calls = 0
    files.open.clear()
    files.plan = { folder: path, nth, effect }
    try {
      await readAll(cache, blobs, {})
      await readWhole(cache, blobs, {}).catch((error: unknown) => {
        expect(error, where).toBeInstanceOf(StoreError)
        expect(['unavailable', 'corrupt'], `${where}: ${error}`).toContain((error as StoreError).code)
      })
      await cache.settled()
      expect(files.open.size, `${where}: files that stayed open`).toBe(0)
      return files.wentWrong
    } catch (error) {
      throw new Error(`${where}: ${(error as Error).stack}`, { cause: error })
    } finally {
      files.plan = undefined
      const again = await openCache(path, objects)
      await readAll(again.cache, again.blobs, {})
      await readWhole(again.cache, again.blobs, {})
      await again.cache.settled()
    }
  }

  it.each(['fail', 'fail-late', 'short', 'flip', 'pretend'] as const)(
    '%s',
    { timeout: 120_000 },
    async (effect) => {
      let nth = 1
      while (await goesWrong(nth, effect)) nth++
      console.info(`the folder of a cache, ${effect}: untouched at k = ${nth}`)
      expect(nth).toBeGreaterThan(50)
    },
  )
})

describe('one call to what is behind it goes wrong', () => {
  async function goesWrong(plan: Plan): Promise<boolean> {
    const where = `k = ${plan.nth}, ${plan.effect}`
    await using dir = await tempDir()
    const path = join(dir.path, 'cache')
    const deadline = new AbortController()
    const faulty = new FaultyObjectStore(objects, plan, deadline)
    const { cache, blobs } = await openCache(path, faulty)
    try {
      await readAll(cache, blobs, { signal: deadline.signal })
      await readWhole(cache, blobs, { signal: deadline.signal })
    } catch (error) {
      if (!(error instanceof StoreError))
        throw new Error(`${where}: ${(error as Error).stack}`, { cause: error })
      expect(TOLD_AS[plan.effect], `${where}: ${error.message}`).toContain(error.code)
    }
    await until(() => faulty.open === 0)
    await cache.settled()
    // Nothing wrong was kept, by this one or for the next.
    await readAll(cache, blobs, {})
    const again = await openCache(path, objects)
    await readAll(again.cache, again.blobs, {})
    await readWhole(again.cache, again.blobs, {})
    return faulty.wentWrong
  }

  it.each(Object.keys(TOLD_AS) as Effect[])('%s', { timeout: 120_000 }, async (effect) => {
    let nth = 1
    while (await goesWrong({ nth, effect })) nth++
    console.info(`a disk cache over it, ${effect}: untouched at k = ${nth}`)
    expect(nth).toBeGreaterThan(5)
  })
})
