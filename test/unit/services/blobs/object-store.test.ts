import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { describe, expect, it, test } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../../../src/model/castore/digest.ts'
import { encodeChunkList } from '../../../../src/services/blobs/chunk-list.ts'
import { blobKey, chunkKey } from '../../../../src/services/blobs/object-keys.ts'
import { objectStoreBlobService } from '../../../../src/services/blobs/object-store.ts'
import { readBlob } from '../../../../src/services/blobs/read-blob.ts'
import type { ObjectStore } from '../../../../src/services/objects/interface.ts'
import { memoryObjectStore } from '../../../../src/services/objects/memory.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { CHUNK_BYTES_MAX, CHUNK_READS_MAX, CHUNK_UPLOADS_MAX } from '../../../../src/support/limits.ts'
import { collect } from '../../../support/collect.ts'
import { overriding } from '../../../support/overriding-objects.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { vectorBlob, vectors } from '../../../support/vectors.ts'

const BLOB_B = vectorBlob('BLOB_B')
const LARGE = pseudoRandom(8 * 1024 * 1024, 1)

async function put(objects: ObjectStore, contents: Uint8Array): Promise<Digest> {
  const writer = objectStoreBlobService(objects).openWrite()
  await writer.write(contents)
  return writer.close()
}

interface LayoutVector {
  readonly blob: string
  readonly blob_key: string
  readonly blob_value_hex: string
  readonly chunk_keys: readonly string[]
}

describe('the bucket layout of', () => {
  for (const { blob, blob_key, blob_value_hex, chunk_keys } of vectors.object_store_layout
    .cases as LayoutVector[])
    it(blob, async () => {
      const objects = memoryObjectStore()
      const contents = vectorBlob(blob)
      await put(objects, contents)
      expect((await collect(objects.list(''))).sort()).toEqual([blob_key, ...chunk_keys].sort())
      expect(hex((await objects.get(blob_key))!)).toBe(blob_value_hex)
      const chunks = await Promise.all(
        chunk_keys.map(async (key) => zstdDecompressSync((await objects.get(key))!)),
      )
      expect(Buffer.compare(Buffer.concat(chunks), contents)).toBe(0)
    })
})

describe('reads what other writers stored:', () => {
  const contents = Buffer.from('the bytes of a chunk, '.repeat(5000))
  const frames: Readonly<Record<string, Uint8Array>> = {
    'without a declared size': zstdCompressSync(contents, {
      params: { [constants.ZSTD_c_contentSizeFlag]: 0 },
    }),
    'with a checksum': zstdCompressSync(contents, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
    'in three parts, the second of them empty': Buffer.concat(
      [contents.subarray(0, 1000), Buffer.of(), contents.subarray(1000)].map((part) =>
        zstdCompressSync(part),
      ),
    ),
    'at level 19': zstdCompressSync(contents, { params: { [constants.ZSTD_c_compressionLevel]: 19 } }),
  }
  for (const [title, frame] of Object.entries(frames))
    it(`a frame ${title}`, async () => {
      const objects = memoryObjectStore()
      const digest = Digest.of(contents)
      await objects.put(chunkKey(digest), frame)
      const blobs = objectStoreBlobService(objects)
      expect(Buffer.compare((await readBlob(blobs, digest))!, contents)).toBe(0)
      expect(await blobs.has(digest)).toBe(true)
      expect(await blobs.chunks(digest)).toEqual([])
    })

  it('chunks of other sizes than ours', async () => {
    const objects = memoryObjectStore()
    const { blob_hex, blob_blake3_hex, chunks } = vectors.chunked_reader
    for (const { data_hex, blake3_hex } of chunks)
      await objects.put(chunkKey(Digest.fromHex(blake3_hex)), zstdCompressSync(Buffer.from(data_hex, 'hex')))
    const list = chunks.map((chunk: { blake3_hex: string; size: number }) => ({
      digest: Digest.fromHex(chunk.blake3_hex),
      size: chunk.size,
    }))
    await objects.put(blobKey(Digest.fromHex(blob_blake3_hex)), encodeChunkList(list))
    const found = await readBlob(objectStoreBlobService(objects), Digest.fromHex(blob_blake3_hex))
    expect(hex(found!)).toBe(blob_hex)
  })

  it('the empty blob, though it was never written', async () => {
    const blobs = objectStoreBlobService(memoryObjectStore())
    expect(await readBlob(blobs, EMPTY_DIGEST)).toHaveLength(0)
    expect(await blobs.has(EMPTY_DIGEST)).toBe(false)
  })
})

test('stores noise as one frame as well', async () => {
  const objects = memoryObjectStore()
  const noise = pseudoRandom(100_000, 5)
  const digest = await put(objects, noise)
  const frame = (await objects.get(chunkKey(digest)))!
  expect(hex(frame.subarray(0, 4))).toBe('28b52ffd')
  expect(Buffer.compare(zstdDecompressSync(frame), noise)).toBe(0)
})

describe('a damaged bucket is corrupt, not absent, and says where:', () => {
  async function assertCorrupt(
    damage: (objects: ObjectStore, digest: Digest) => Promise<void>,
    message: RegExp,
  ) {
    const objects = memoryObjectStore()
    const digest = await put(objects, BLOB_B)
    await damage(objects, digest)
    const error = await readBlob(objectStoreBlobService(objects), digest).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ code: 'corrupt' })
    expect((error as StoreError).message).toMatch(message)
  }
  const chunksOf = async (objects: ObjectStore) => collect(objects.list('chunks/'))

  it('a missing chunk', () =>
    assertCorrupt(
      async (objects) => objects.delete((await chunksOf(objects))[1]!),
      /incomplete.*chunks\/b3.*missing/,
    ))
  it('an empty list without its chunk', () =>
    assertCorrupt((objects, digest) => objects.put(blobKey(digest), new Uint8Array(0)), /incomplete/))
  it('a list that is no message', () =>
    assertCorrupt((objects, digest) => objects.put(blobKey(digest), Uint8Array.of(0xff)), /cannot be read/))
  it('a digest of 31 bytes', () =>
    assertCorrupt(
      (objects, digest) => objects.put(blobKey(digest), Buffer.from(`12230a1f${'00'.repeat(31)}1001`, 'hex')),
      /invalid digest length: 31/,
    ))
  it('a chunk of no bytes', () =>
    assertCorrupt(
      (objects, digest) => objects.put(blobKey(digest), Buffer.from(`12220a20${'00'.repeat(32)}`, 'hex')),
      /a chunk of 0 bytes/,
    ))
  it('a chunk of 2^64 - 1 bytes', () =>
    assertCorrupt(
      (objects, digest) =>
        objects.put(blobKey(digest), Buffer.from(`122d0a20${'00'.repeat(32)}10${'ff'.repeat(9)}01`, 'hex')),
      /a chunk of 1844/,
    ))
  it('a blob that contains itself', () =>
    assertCorrupt((objects, digest) => {
      const list = [
        { digest, size: 1 },
        { digest: EMPTY_DIGEST, size: 1 },
      ]
      return objects.put(blobKey(digest), encodeChunkList(list))
    }, /contains the blob itself/))
  it('a single chunk that is another blob', () =>
    assertCorrupt((objects, digest) => {
      return objects.put(blobKey(digest), encodeChunkList([{ digest: EMPTY_DIGEST, size: 1 }]))
    }, /single chunk/))
  it('a chunk that is no frame', () =>
    assertCorrupt(
      async (objects) => objects.put((await chunksOf(objects))[0]!, BLOB_B.subarray(0, 99)),
      /not a zstd frame/,
    ))
  it('a frame that is cut off', () =>
    assertCorrupt(async (objects) => {
      const [key] = await chunksOf(objects)
      const frame = (await objects.get(key!))!
      await objects.put(key!, frame.subarray(0, frame.length - 1))
    }, /not a zstd frame/))
  it('a chunk that is too short', () =>
    assertCorrupt(
      async (objects) => objects.put((await chunksOf(objects))[0]!, zstdCompressSync(BLOB_B.subarray(0, 9))),
      /has 9 bytes/,
    ))
  it('a chunk that is too long', () =>
    assertCorrupt(
      async (objects) => objects.put((await chunksOf(objects))[0]!, zstdCompressSync(BLOB_B)),
      /holds more than/,
    ))
})

test('stops a decompression bomb at the limit', async () => {
  const objects = memoryObjectStore()
  const digest = Digest.of(Buffer.from('bomb'))
  await objects.put(chunkKey(digest), zstdCompressSync(Buffer.alloc(CHUNK_BYTES_MAX + 1)))
  const read = readBlob(objectStoreBlobService(objects), digest)
  await expect(read).rejects.toMatchObject({ code: 'corrupt' })
})

test('passes a failing bucket on as it is, never as absence', async () => {
  const failure = new StoreError('unavailable', 'the bucket is on fire')
  const fail = () => Promise.reject(failure)
  const objects: ObjectStore = { ...memoryObjectStore(), name: 'x', get: fail, head: fail, put: fail }
  const blobs = objectStoreBlobService(objects)
  const digest = Digest.of(BLOB_B)
  for (const call of [
    () => blobs.has(digest),
    () => blobs.chunks(digest),
    () => blobs.openRead(digest),
    () => put(objects, BLOB_B),
  ])
    await expect(call()).rejects.toBe(failure)
})

/** Counts how many calls of `get` and `head` run at the same time at most, and the order of puts. */
function watched(base: ObjectStore) {
  const seen = { most: 0, running: 0, puts: [] as string[] }
  const watching = async <T>(work: () => Promise<T>): Promise<T> => {
    seen.most = Math.max(seen.most, ++seen.running)
    await new Promise(setImmediate)
    try {
      return await work()
    } finally {
      seen.running--
    }
  }
  const objects: ObjectStore = {
    name: base.name,
    get: (key, call) => watching(() => base.get(key, call)),
    head: (key, call) => watching(() => base.head(key, call)),
    put: async (key, body, call) => {
      await watching(() => base.put(key, body, call))
      seen.puts.push(key)
    },
    list: (prefix, call) => base.list(prefix, call),
    delete: (key, call) => base.delete(key, call),
  }
  return { objects, seen }
}

test('writes a few chunks at a time and the list last', async () => {
  const { objects, seen } = watched(memoryObjectStore())
  const digest = await put(objects, LARGE)
  // How many there really are at once is a matter of how fast they are cut.
  expect(seen.most).toBeGreaterThan(1)
  expect(seen.most).toBeLessThanOrEqual(CHUNK_UPLOADS_MAX)
  expect(seen.puts.indexOf(blobKey(digest))).toBe(seen.puts.length - 1)
})

test('reads a few chunks ahead, and no more once the reader left', async () => {
  const { objects, seen } = watched(memoryObjectStore())
  const digest = await put(objects, LARGE)
  seen.most = 0
  for await (const _ of (await objectStoreBlobService(objects).openRead(digest))!) break
  expect(seen.most).toBe(CHUNK_READS_MAX)
  expect(seen.running).toBe(0)
})

test('puts nothing a second time', async () => {
  const { objects, seen } = watched(memoryObjectStore())
  await put(objects, LARGE)
  const before = seen.puts.filter((key) => key.startsWith('chunks/')).length
  await put(objects, LARGE)
  expect(seen.puts.filter((key) => key.startsWith('chunks/'))).toHaveLength(before)
})

test('a writer hears of a failed upload at the next write or at close, and leaves no list', async () => {
  const base = memoryObjectStore()
  const failure = new StoreError('exhausted', 'the disk is full')
  const objects: ObjectStore = {
    name: base.name,
    get: (key, call) => base.get(key, call),
    head: (key, call) => base.head(key, call),
    put: (key, body, call) =>
      key.startsWith('chunks/') ? Promise.reject(failure) : base.put(key, body, call),
    list: (prefix, call) => base.list(prefix, call),
    delete: (key, call) => base.delete(key, call),
  }
  const writer = objectStoreBlobService(objects).openWrite()
  const writing = (async () => {
    await writer.write(LARGE)
    await writer.close()
  })()
  await expect(writing).rejects.toBe(failure)
  await writer.abort()
  expect(await collect(objects.list(''))).toEqual([])
})

describe('a blob of many portions', () => {
  const average = 64
  const blob = pseudoRandom(100_000, 11)
  const sizes: Readonly<Record<string, number>> = {
    'one by one': 1,
    'in small writes': 100,
    'at once': blob.length,
  }

  for (const [title, size] of Object.entries(sizes))
    it(`that is written ${title} is the same`, async () => {
      const objects = memoryObjectStore()
      const blobs = objectStoreBlobService(objects, average)
      const writer = blobs.openWrite()
      for (let start = 0; start < blob.length; start += size)
        await writer.write(blob.subarray(start, start + size))
      const digest = await writer.close()
      expect(digest.equals(Digest.of(blob))).toBe(true)
      expect(Buffer.compare((await readBlob(blobs, digest))!, blob)).toBe(0)
    })

  it('may share the memory of others that were given up while they were stored', async () => {
    const base = memoryObjectStore()
    const gate = Promise.withResolvers<void>()
    const objects: ObjectStore = {
      ...overriding(base),
      // Like a thread that reads what it was given though nobody waits for it any more.
      put: async (key, body, call) => {
        await gate.promise
        await base.put(key, body, call)
      },
    }
    const blobs = objectStoreBlobService(objects, average)
    const givenUp = blobs.openWrite()
    await givenUp.write(blob.subarray(0, 400))
    const closing = givenUp.close().catch((error: StoreError) => error.code)
    const abort = givenUp.abort()
    const other = pseudoRandom(400, 12)
    const kept = blobs.openWrite()
    await kept.write(other)
    const keeping = kept.close()
    gate.resolve()
    await abort
    expect(await closing).toBe('cancelled')
    const digest = await keeping
    expect(Buffer.compare((await readBlob(blobs, digest))!, other)).toBe(0)
    for await (const key of base.list('chunks/')) {
      const contents = zstdDecompressSync((await base.get(key))!)
      expect(key.endsWith(Digest.of(contents).hex)).toBe(true)
    }
  })
})
