/**
 * The blob cache on disk: what is read from it is right whatever happened to its folder, also when processes that
 * share it are killed at any moment.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readSync } from 'node:fs'
import {
  cp,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { CacheEviction } from '../../src/services/blobs/cache-eviction.ts'
import { decodeCacheMap, encodeCacheMap } from '../../src/services/blobs/cache-map.ts'
import { openDiskCache } from '../../src/services/blobs/disk-cache.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { nativeFileNotes } from '../../src/services/blobs/native-file-notes.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { SourceSet } from '../../src/services/source-set.ts'
import { type FaultyBlobs, faultyBlobs } from '../support/faulty-blobs.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { CAN_MOUNT, FULL } from '../support/requirements.ts'
import { tempDir } from '../support/temp-dir.ts'

const LARGE = pseudoRandom(3_000_000, 21)
const SMALL = pseudoRandom(3_000, 22)
const CHILD = join(import.meta.dirname, '../support/disk-cache-child.ts')
const FULL_CHILD = join(import.meta.dirname, '../support/full-cache-child.ts')

async function setUp(path: string, base: BlobService = objectStoreBlobService(memoryObjectStore())) {
  const far = faultyBlobs(base)
  const { logger, lines } = recordingLogger()
  const set = new SourceSet<BlobService>([], { logger })
  const source = { name: 'far', service: verifyingBlobService(far, 'far') }
  const cache = await openDiskCache(source, { path, bytesMax: 1e9, faults: set })
  return { far, cache, set, lines, blobs: verifyingBlobService(cache, 'cache') }
}

async function store(blobs: BlobService, contents: Uint8Array): Promise<Digest> {
  const writer = blobs.openWrite()
  await writer.write(contents)
  return await writer.close()
}

async function expectReads(blobs: BlobService, contents: Uint8Array): Promise<void> {
  const found = await readBlob(blobs, Digest.of(contents))
  expect(found && Buffer.compare(found, contents)).toBe(0)
}

/** As the mount reads: the list, then chunk by chunk. */
async function readByChunks(blobs: BlobService, contents: Uint8Array): Promise<void> {
  const list = (await blobs.chunks(Digest.of(contents)))!
  let start = 0
  for (const { digest, size } of list) {
    const chunk = await readBlob(blobs, digest, size)
    expect(chunk && Buffer.compare(chunk, contents.subarray(start, start + size))).toBe(0)
    start += size
  }
  // A blob that is here as a whole need not be divided.
  if (list.length === 0) return await expectReads(blobs, contents)
  expect(start).toBe(contents.length)
}

function requests({ asked }: FaultyBlobs): number {
  return asked.has + asked.chunks + asked.openRead
}

async function filesOf(path: string): Promise<string[]> {
  const entries = await readdir(join(path, 'blobs'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

describe('a cache folder', () => {
  it('serves what was read when far is gone, also after a restart, without a request', async () => {
    await using dir = await tempDir()
    const { far, blobs, cache } = await setUp(dir.path)
    for (const each of [SMALL, LARGE]) await store(far, each)
    await expectReads(blobs, SMALL)
    await readByChunks(blobs, LARGE)
    await cache.settled()
    far.dead = true
    const before = requests(far)
    for (const each of [SMALL, LARGE]) await expectReads(blobs, each)
    await readByChunks(blobs, LARGE)
    expect(requests(far)).toBe(before)
    const again = await setUp(dir.path)
    again.far.dead = true
    for (const each of [SMALL, LARGE]) await expectReads(again.blobs, each)
    await readByChunks(again.blobs, LARGE)
    expect(requests(again.far)).toBe(0)
  })

  it('goes on after a restart with what of a blob was there', async () => {
    await using dir = await tempDir()
    const base = objectStoreBlobService(memoryObjectStore())
    const { far, blobs } = await setUp(dir.path, base)
    const digest = await store(far, LARGE)
    const list = (await blobs.chunks(digest))!
    for (const { digest: chunk } of list.slice(0, 4)) await readBlob(blobs, chunk)
    const again = await setUp(dir.path, base)
    await readByChunks(again.blobs, LARGE)
    expect(again.far.asked.openRead).toBe(list.length - 4)
    expect(again.far.asked.chunks).toBe(0)
  })

  it('keeps sparse files while they fill, and plain ones when they are whole', async () => {
    await using dir = await tempDir()
    const { far, blobs, cache } = await setUp(dir.path)
    const digest = await store(far, LARGE)
    const list = (await blobs.chunks(digest))!
    await readBlob(blobs, list.at(-1)!.digest)
    const part = (await filesOf(dir.path)).find((name) => name.endsWith('.part'))!
    const { size, blocks } = await stat(part)
    expect(size).toBe(LARGE.length)
    expect(blocks * 512).toBeLessThan(LARGE.length / 2)
    await readByChunks(blobs, LARGE)
    await cache.settled()
    const whole = (await filesOf(dir.path)).find((name) => name.endsWith(digest.hex))!
    expect(Buffer.compare(await readFile(whole), LARGE)).toBe(0)
    expect((await filesOf(dir.path)).filter((name) => name.endsWith('.part'))).toEqual([])
  })

  it('gives whole blobs as files that were verified, and no others', async () => {
    await using dir = await tempDir()
    const { far, blobs, cache } = await setUp(dir.path)
    const digest = await store(far, LARGE)
    expect(await cache.openLocalFile(digest)).toBeUndefined()
    await readByChunks(blobs, LARGE)
    await cache.settled()
    {
      await using file = (await cache.openLocalFile(digest))!
      const bytes = Buffer.alloc(file.size)
      readSync(file.fd, bytes, 0, bytes.length, 0)
      expect(Buffer.compare(bytes, LARGE)).toBe(0)
    }
    // It was hashed when it became whole, and every start notes that the blob is used.
    for (let start = 0; start < 2; start++) {
      const { cache: next } = await setUp(dir.path)
      await using file = (await next.openLocalFile(digest))!
      expect(file.wasRead).toBe(nativeFileNotes() === undefined)
    }
    await flipByte((await filesOf(dir.path)).find((name) => name.endsWith(digest.hex))!, 1_500_000)
    expect(await cache.openLocalFile(digest)).toBeUndefined()
    await expectReads(blobs, LARGE)
  })

  it('fetches once what many ask for at the same time', async () => {
    await using dir = await tempDir()
    const { far, blobs } = await setUp(dir.path)
    await store(far, SMALL)
    await store(far, LARGE)
    await Promise.all(Array.from({ length: 16 }, () => expectReads(blobs, SMALL)))
    expect(far.asked.openRead).toBe(1)
    const { length } = (await blobs.chunks(Digest.of(LARGE)))!
    await Promise.all(Array.from({ length: 8 }, () => readByChunks(blobs, LARGE)))
    expect(far.asked.openRead).toBe(1 + length)
  })

  const DAMAGES: readonly [string, (path: string) => Promise<unknown>][] = [
    ['a flipped bit', (path) => flipByte(path, 1_000)],
    ['a file cut short', (path) => truncate(path, 700)],
    ['an empty file', (path) => truncate(path, 0)],
    ['a file of zeros', async (path) => writeFile(path, Buffer.alloc((await stat(path)).size))],
    ['a file with more behind it', (path) => writeFile(path, 'more', { flag: 'a' })],
  ]
  it.each(DAMAGES)('survives %s, in every file it has', async (_, damage) => {
    await using dir = await tempDir()
    const { far, blobs, cache } = await setUp(join(dir.path, 'cache'))
    for (const each of [SMALL, LARGE]) await store(far, each)
    await expectReads(blobs, SMALL)
    await readByChunks(blobs, LARGE)
    await cache.settled()
    const names = (await filesOf(join(dir.path, 'cache'))).map((name) => name.slice(dir.path.length + 6))
    expect(names).toHaveLength(3)
    for (const name of names) {
      const path = join(dir.path, `damaged-${names.indexOf(name)}`)
      await cp(join(dir.path, 'cache'), path, { recursive: true })
      await damage(join(path, name))
      const damaged = await setUp(path, far)
      for (const each of [SMALL, LARGE]) await expectReads(damaged.blobs, each)
      await readByChunks(damaged.blobs, LARGE)
      await damaged.cache.settled()
    }
  })

  it('keeps nothing that far could not prove', async () => {
    await using dir = await tempDir()
    const { far, blobs } = await setUp(dir.path)
    for (const each of [SMALL, LARGE]) await store(far, each)
    far.lies = true
    for (const each of [SMALL, LARGE])
      await expect(readBlob(blobs, Digest.of(each))).rejects.toMatchObject({ code: 'corrupt' })
    expect((await filesOf(dir.path)).filter((name) => !name.endsWith('.map'))).toEqual([])
    far.lies = false
    for (const each of [SMALL, LARGE]) await expectReads(blobs, each)
  })

  it('forgets a list that far told once and does not stand by', async () => {
    await using dir = await tempDir()
    const { far, blobs } = await setUp(dir.path)
    const digest = await store(far, LARGE)
    const right = (await far.chunks(digest))!
    const { chunks } = far
    far.chunks = async () => right.with(3, { ...right[3]!, digest: Digest.of(SMALL) })
    await blobs.chunks(digest)
    far.chunks = chunks
    await expect(expectReads(blobs, LARGE)).rejects.toMatchObject({ code: 'corrupt' })
    await expectReads(blobs, LARGE)
  })

  it('keeps what it has of a blob of which far lost a part', async () => {
    await using dir = await tempDir()
    const { far, blobs } = await setUp(dir.path)
    const list = await blobs.chunks(await store(far, LARGE))
    await readBlob(blobs, list![0]!.digest)
    const { openRead } = far
    far.openRead = async () => undefined
    await expect(readBlob(blobs, list![1]!.digest)).rejects.toMatchObject({ code: 'corrupt' })
    await readBlob(blobs, list![0]!.digest)
    far.openRead = openRead
    await readByChunks(blobs, LARGE)
  })

  it('makes no blob of right chunks that are not its own', async () => {
    await using dir = await tempDir()
    const { far, blobs, cache } = await setUp(dir.path)
    const other = await store(far, LARGE)
    const chunks = (await far.chunks(other))!
    const digest = Digest.of(SMALL)
    far.chunks = async () => chunks
    for (const chunk of (await blobs.chunks(digest))!) await readBlob(blobs, chunk.digest)
    await cache.settled()
    expect(await cache.openLocalFile(digest)).toBeUndefined()
    expect((await filesOf(dir.path)).some((name) => name.endsWith(digest.hex))).toBe(false)
  })

  it('costs nothing but time when its folder is gone', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'cache')
    const { far, blobs, set, lines } = await setUp(path)
    for (const each of [SMALL, LARGE]) await store(far, each)
    const { rm } = await import('node:fs/promises')
    await rm(path, { recursive: true })
    await writeFile(path, 'a file now')
    for (const each of [SMALL, LARGE]) await expectReads(blobs, each)
    expect(set.stats.failures[path]).toBeGreaterThan(0)
    const reason = `the cache folder ${path}: a part of the path is a file and no folder: name another place (ENOTDIR)`
    expect(lines).toMatchObject([{ level: 'warn', source: path, reason }])
    expect(lines[0]).not.toHaveProperty('err')
  })

  it('goes on after a power cut that left nothing of what its version file said', async () => {
    await using dir = await tempDir()
    await setUp(dir.path)
    await writeFile(join(dir.path, 'version'), Buffer.alloc(25))
    await setUp(dir.path)
  })

  it('makes a plain file of what was complete when a process was killed', async () => {
    await using dir = await tempDir()
    const base = objectStoreBlobService(memoryObjectStore())
    const { far, blobs, cache } = await setUp(dir.path, base)
    const digest = await store(far, LARGE)
    await readByChunks(blobs, LARGE)
    await cache.settled()
    const files = await filesOf(dir.path)
    const whole = files.find((name) => name.endsWith(digest.hex))!
    const id = decodeCacheMap(await readFile(`${whole}.map`))!.id
    await rename(whole, `${whole}.${id}.part`)
    const again = await setUp(dir.path, base)
    await readByChunks(again.blobs, LARGE)
    await again.cache.settled()
    await using file = (await again.cache.openLocalFile(digest))!
    expect(file.size).toBe(LARGE.length)
  })

  it('follows no link that others laid into it, and waits for no pipe', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'cache')
    const { far, blobs, cache } = await setUp(path)
    const file = async ({ hex }: Digest, suffix = '') => {
      await mkdir(join(path, 'blobs', hex.slice(0, 2)), { recursive: true })
      return join(path, 'blobs', hex.slice(0, 2), hex + suffix)
    }
    const mine = join(dir.path, 'mine')
    await writeFile(mine, 'to be left alone')
    const [large, small] = [await store(far, LARGE), await store(far, SMALL)]
    const chunks = (await far.chunks(large))!
    const [id, filled] = ['0'.repeat(16), new Uint8Array(chunks.length)]
    await writeFile(await file(large, '.map'), encodeCacheMap({ id, chunks, filled }))
    await symlink(mine, await file(large, `.${id}.part`))
    execFileSync('mkfifo', [await file(small)])
    await readByChunks(blobs, LARGE)
    for (let i = 0; i < 2; i++) await expectReads(blobs, SMALL)
    await cache.settled()
    expect(await readFile(mine, 'utf8')).toBe('to be left alone')
    expect((await stat(await file(small))).isFile()).toBe(true)
  })

  it('refuses a folder of another kind', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'version'), 'something else 7\n')
    await expect(setUp(dir.path)).rejects.toMatchObject({ code: 'precondition' })
  })
})

describe('eviction', () => {
  it('removes what was used longest ago, until nine tenths of the limit are left', async () => {
    await using dir = await tempDir()
    const { far, blobs } = await setUp(dir.path)
    const contents = Array.from({ length: 20 }, (_, seed) => pseudoRandom(100_000, 100 + seed))
    for (const each of contents) await store(far, each)
    for (const each of contents) await expectReads(blobs, each)
    const path = (each: Uint8Array) =>
      join(dir.path, 'blobs', Digest.of(each).hex.slice(0, 2), Digest.of(each).hex)
    for (const [age, each] of contents.entries()) await utimes(path(each), 1_000_000 - age, 1_000_000 - age)
    const size = (await stat(path(contents[0]!))).blocks * 512
    await new CacheEviction(dir.path, 10 * size).run()
    const left = contents.filter((each) => fileExists(path(each)))
    expect(left).toEqual(contents.slice(0, 9))
    for (const each of contents) await expectReads(blobs, each)
  })

  it('takes place while the cache is used, and never takes a byte from a reader', async () => {
    await using dir = await tempDir()
    const far = faultyBlobs(objectStoreBlobService(memoryObjectStore()))
    const source = { name: 'far', service: verifyingBlobService(far, 'far') }
    const cache = await openDiskCache(source, { path: dir.path, bytesMax: 2_000_000 })
    const contents = Array.from({ length: 40 }, (_, seed) => pseudoRandom(400_000, 200 + seed))
    for (const each of contents) await store(far, each)
    for (let round = 0; round < 3; round++)
      await Promise.all(contents.map((each) => expectReads(cache, each)))
    await cache.settled()
    await new CacheEviction(dir.path, 2_000_000).run()
    let total = 0
    for (const name of await filesOf(dir.path)) total += (await stat(name)).blocks * 512
    expect(total).toBeLessThanOrEqual(2_000_000)
  })

  it('keeps the limit where blobs are far smaller than the blocks of the disk', async () => {
    await using dir = await tempDir()
    const far = { name: 'far', service: objectStoreBlobService(memoryObjectStore()) }
    const cache = await openDiskCache(far, { path: dir.path, bytesMax: 1_000_000 })
    for (let seed = 0; seed < 400; seed++) {
      await store(far.service, pseudoRandom(20, seed))
      await expectReads(cache, pseudoRandom(20, seed))
    }
    await cache.settled()
    let total = 0
    for (const name of await filesOf(dir.path)) total += (await stat(name)).blocks * 512
    // As documented: by a sixteenth, which a reader may write before the next look.
    expect(total).toBeLessThanOrEqual(1_000_000 * (1 + 2 / 16))
  })

  it('begins with what was used in the future, before the clock was set back', async () => {
    await using dir = await tempDir()
    await setUp(dir.path)
    const shard = join(dir.path, 'blobs/aa')
    await mkdir(shard)
    const name = (each: number) => join(shard, `${each}`.padStart(64, 'a'))
    const now = Date.now() / 1000
    for (let each = 0; each < 10; each++) {
      await writeFile(name(each), Buffer.alloc(16_384))
      await utimes(name(each), now + (each % 2 ? 86_400 : -60), now + (each % 2 ? 86_400 : -60))
    }
    await new CacheEviction(dir.path, 6 * 16_384).run()
    expect([0, 2, 4, 6, 8].map((each) => fileExists(name(each)))).toEqual([true, true, true, true, true])
  })

  it('clears away what killed processes left, but not what others are writing', async () => {
    await using dir = await tempDir()
    await setUp(dir.path)
    const shard = join(dir.path, 'blobs/aa')
    await mkdir(shard)
    const [old, fresh] = ['0', '1'].map((id) => join(shard, `${'a'.repeat(64)}.${id.repeat(16)}.part`))
    for (const name of [old!, fresh!]) await writeFile(name, 'half')
    await utimes(old!, 1_000_000, 1_000_000)
    await new CacheEviction(dir.path, 1e9).run()
    expect([fileExists(old!), fileExists(fresh!)]).toEqual([false, true])
  })
})

describe('a map of chunks', () => {
  const chunks = [1, 2, 3].map((seed) => ({ digest: Digest.of(pseudoRandom(50, seed)), size: seed * 7 }))
  const map = { id: '0123456789abcdef', chunks, filled: Uint8Array.of(1, 0, 1) }

  it('survives writing and reading', () => {
    const decoded = decodeCacheMap(encodeCacheMap(map))!
    expect(decoded.id).toBe(map.id)
    expect(decoded.filled).toEqual(map.filled)
    expect(decoded.chunks.map(({ digest, size }) => `${digest.hex} ${size}`)).toEqual(
      chunks.map(({ digest, size }) => `${digest.hex} ${size}`),
    )
  })

  it('is refused when a byte of it changed, but for those that only say what is there', () => {
    const bytes = encodeCacheMap(map)
    const accepted: number[] = []
    for (let index = 0; index < bytes.length; index++) {
      const changed = Uint8Array.from(bytes)
      changed[index]! ^= 0x80
      if (decodeCacheMap(changed)) accepted.push(index)
    }
    // Padding, and the states: a wrong one shows when the chunk is verified.
    expect(accepted).toEqual(
      [28, 29, 30, 31, ...[1, 2, 3].map((state) => bytes.length - state)].toSorted((a, b) => a - b),
    )
    for (let length = 0; length < bytes.length; length++)
      expect(decodeCacheMap(bytes.subarray(0, length))).toBeUndefined()
  })
})

describe('processes that share a folder', () => {
  const CONTENTS = Array.from({ length: 12 }, (_, seed) => pseudoRandom(900_000, 300 + seed))

  /** A process that reads all blobs, from another point on for each seed, until it is done or killed. */
  function startReader(folder: string, seed: number) {
    const child = spawn(process.execPath, [CHILD, join(folder, 'far'), join(folder, 'cache'), `${seed}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    return { child, exited: once(child, 'exit').then(() => output) }
  }

  async function fillFar(folder: string): Promise<void> {
    const { openFileObjectStore } = await import('../../src/services/objects/file.ts')
    const far = objectStoreBlobService(await openFileObjectStore(join(folder, 'far')))
    for (const each of CONTENTS) await store(far, each)
    await writeFile(join(folder, 'far/digests'), CONTENTS.map((each) => Digest.of(each).hex).join('\n'))
  }

  async function expectSound(folder: string): Promise<void> {
    const { far, blobs, cache } = await setUp(join(folder, 'cache'))
    for (const each of CONTENTS) await store(far, each)
    for (const each of CONTENTS) await readByChunks(blobs, each)
    for (const each of CONTENTS) await expectReads(blobs, each)
    await cache.settled()
  }

  it('read the right bytes, four at a time', { timeout: 60_000 }, async () => {
    await using dir = await tempDir()
    await fillFar(dir.path)
    const readers = Array.from({ length: 4 }, (_, seed) => startReader(dir.path, seed))
    for (const { exited } of readers) expect(await exited).toBe('all right\n')
    // Between them they have put together every blob, and each is what its name says.
    const { cache } = await setUp(join(dir.path, 'cache'))
    for (const each of CONTENTS) {
      await using file = (await cache.openLocalFile(Digest.of(each)))!
      expect(file.size).toBe(each.length)
    }
  })

  const ROUNDS = FULL ? 200 : 6
  it(`are killed ${ROUNDS} times, two at a time`, { timeout: ROUNDS * 10_000 }, async () => {
    await using dir = await tempDir()
    await fillFar(dir.path)
    for (let seed = 0; seed < ROUNDS; seed++) {
      const readers = [seed, seed + 5].map((each) => startReader(dir.path, each))
      const moment = 150 + ((Math.imul(seed + 1, 2654435761) >>> 0) / 2 ** 32) * 600
      await pause(moment)
      for (const { child } of readers) child.kill('SIGKILL')
      for (const { exited } of readers) expect(['', 'all right\n'], `seed ${seed}`).toContain(await exited)
      await expectSound(dir.path)
      if (seed % 3 === 2) {
        const { rm } = await import('node:fs/promises')
        await rm(join(dir.path, 'cache'), { recursive: true })
      }
    }
  })

  it('a reader finds out a folder that was tampered with (negative control)', async () => {
    await using dir = await tempDir()
    await fillFar(dir.path)
    const { blobs, cache } = await setUp(join(dir.path, 'cache'), objectStoreBlobService(memoryObjectStore()))
    await cache.settled()
    await expect(readByChunks(blobs, CONTENTS[0]!)).rejects.toThrow()
  })
})

async function flipByte(path: string, position: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, Math.min(position, (await file.stat()).size - 1))
  byte[0]! ^= 1
  await file.write(byte, 0, 1, Math.min(position, (await file.stat()).size - 1))
}

function fileExists(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch {
    return false
  }
}

it.skipIf(!CAN_MOUNT).each([
  ['room', 'size=4m'],
  // Of which shards of the cache take a part, for good; and one more would be needed for a lock.
  ['inodes', 'nr_inodes=140'],
])('a disk with less %s than the limit takes keeps what was read last', async (_, options) => {
  await using dir = await tempDir()
  const script = `mount -t tmpfs -o ${options} full "$0" && exec "$@"`
  const command = [process.execPath, FULL_CHILD, join(dir.path, 'cache')]
  const kept = Number(execFileSync('unshare', ['-m', 'sh', '-ec', script, dir.path, ...command]))
  // What was used in the same second is as good as equally old.
  expect(kept).toBeGreaterThan(0)
})
