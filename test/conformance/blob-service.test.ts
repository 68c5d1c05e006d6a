import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../src/model/castore/digest.ts'
import { openFileBlobService } from '../../src/services/blobs/file-blobs.ts'
import { hasMany } from '../../src/services/blobs/has-many.ts'
import type {
  BlobService,
  BlobStream,
  BlobWriter,
  ChunkMeta,
  PlacedBlob,
} from '../../src/services/blobs/interface.ts'
import { LocalChunks } from '../../src/services/blobs/local-chunks.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { CHUNKS_PREFIX } from '../../src/services/blobs/object-keys.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { readBlob, readBlobsInto } from '../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { openFileObjectStore } from '../../src/services/objects/file.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { openPackedObjectStore } from '../../src/services/objects/packs.ts'
import { throwIfAborted } from '../../src/support/call.ts'
import { collect } from '../support/collect.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type BlobServiceProperties, blobServiceCases, blobServiceSuite, chunkCases } from './blob-service.ts'
import { brokenCases, type Make, nothingToClean } from './suite.ts'

const backends: readonly [string, Make<BlobService>, BlobServiceProperties][] = [
  ['memory', nothingToClean(memoryBlobService), { chunks: 'whole' }],
  [
    'object store in memory',
    nothingToClean(() => objectStoreBlobService(memoryObjectStore())),
    { chunks: 'content-defined' },
  ],
  [
    'object store of files',
    async () => {
      const dir = await tempDir()
      return {
        subject: objectStoreBlobService(await openFileObjectStore(join(dir.path, 'store'))),
        [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
      }
    },
    { chunks: 'content-defined' },
  ],
  [
    'object store of files, read by the addon',
    async () => {
      const dir = await tempDir()
      const root = join(dir.path, 'store')
      const local = LocalChunks.at(root)
      assert(local, 'the addon is not built: npm run build:native')
      return {
        subject: objectStoreBlobService(await openFileObjectStore(root), undefined, local),
        [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
      }
    },
    { chunks: 'content-defined' },
  ],
  ['packs', () => packs(false), { chunks: 'content-defined' }],
  ['packs, read by the addon', () => packs(true), { chunks: 'content-defined' }],
  [
    'raw files',
    async () => {
      const dir = await tempDir()
      return {
        subject: await openFileBlobService(join(dir.path, 'store')),
        [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
      }
    },
    { chunks: 'content-defined' },
  ],
]

async function packs(isReadByAddon: boolean) {
  const dir = await tempDir()
  const objects = await openPackedObjectStore(join(dir.path, 'store'))
  const places = objects.placesBelow(CHUNKS_PREFIX)
  const local = isReadByAddon
    ? LocalChunks.of({ kind: 'packs', folder: objects.packsFolder, places })
    : undefined
  if (isReadByAddon) assert(local, 'the addon is not built: npm run build:native')
  return {
    subject: objectStoreBlobService(objects, undefined, local),
    async [Symbol.asyncDispose]() {
      await objects[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

for (const [name, make, properties] of backends) {
  blobServiceSuite(`blob service: ${name}`, make, properties)
  blobServiceSuite(`blob service: verifying over ${name}`, verifyingOver(make), properties)
}

function verifyingOver(make: Make<BlobService>): Make<BlobService> {
  return async () => {
    const made = await make()
    return {
      subject: verifyingBlobService(made.subject, 'the base'),
      [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
    }
  }
}

/** A service in memory with one promise broken. */
type Breakage = (base: BlobService) => Partial<BlobService>

const breakages: Readonly<Record<string, Breakage>> = {
  'has everything': () => ({ has: async () => true }),
  'has everything, when it is asked for many': () => ({
    hasMany: async (digests) => digests.map(() => true),
  }),
  'answers for many in another order': (base) => ({
    hasMany: async (digests, call) => (await hasMany(base, digests, call)).toReversed(),
  }),
  'has nothing': () => ({ has: async () => false }),
  'opens absent blobs as empty ones': (base) => ({
    openRead: async (digest, call) => (await base.openRead(digest, call)) ?? pieces([]),
  }),
  'says absent on every error': (base) => ({
    has: (digest, call) => base.has(digest, call).catch(() => false),
    openRead: (digest, call) => base.openRead(digest, call).catch(() => undefined),
  }),
  'ignores signals': (base) => ({
    has: (digest) => base.has(digest),
    openRead: (digest) => base.openRead(digest),
  }),
  'reads into other places': (base) => ({
    readInto: async (target, wanted) => {
      const places = wanted.map(({ digest, size }, i) => ({
        digest,
        size,
        offset: wanted.at(-1 - i)!.offset,
      }))
      await readBlobsInto(base, target, places)
      return []
    },
  }),
  'reads into places without comparing': (base) => ({
    readInto: async (target, wanted, call) => {
      throwIfAborted(call?.signal)
      const left: PlacedBlob[] = []
      for (const blob of wanted) {
        const bytes = await readBlob(base, blob.digest)
        if (bytes) target.set(bytes.subarray(0, blob.size), blob.offset)
        else left.push(blob)
      }
      return left
    },
  }),
  'flips a bit': (base) => readingAs(base, (blob) => blob.map((piece) => piece.map((byte) => byte ^ 1))),
  'loses the last piece': (base) => readingAs(base, (blob) => blob.slice(0, -1)),
  'repeats a piece': (base) => readingAs(base, (blob) => [...blob.slice(0, 1), ...blob]),
  'swaps two pieces': (base) => readingAs(base, (blob) => blob.toReversed()),
  'yields empty pieces': (base) => readingAs(base, (blob) => [new Uint8Array(0), ...blob]),
  'reuses the memory of a piece': (base) => readingThrough(base, reusingMemory),
  'reads a blob once only': (base) => readingOnce(base),
  'claims an empty chunk list for absent blobs': (base) => ({
    chunks: async (digest, call) => (await base.chunks(digest, call)) ?? [],
  }),
  'makes a blob visible before close': (base) => ({
    openWrite: (call) => {
      const writer = base.openWrite(call)
      return { ...bound(writer), write: (bytes) => writer.write(bytes).then(() => storeCopy(base, bytes)) }
    },
  }),
  'stores on abort': (base) =>
    writingAs(base, (writer) => ({ abort: async () => void (await writer.close()) })),
  'drops a write': (base) =>
    writingAs(base, (writer) => {
      let count = 0
      return { write: async (bytes) => (count++ === 1 ? undefined : writer.write(bytes)) }
    }),
  'keeps the memory of the writer': () => keepingMemory(),
  'fails the second close': (base) =>
    writingAs(base, (writer) => {
      let closed = false
      return {
        async close() {
          if (closed) throw new Error('closed twice')
          closed = true
          return writer.close()
        },
      }
    }),
  'returns a false digest': (base) => writingAs(base, () => ({ close: async () => EMPTY_DIGEST })),
  'ignores the signal of a writer': (base) => ({ openWrite: () => base.openWrite() }),
}

describe('the blob service suite catches a service that', () => {
  for (const [title, breakage] of Object.entries(breakages))
    it(title, async () => {
      const make = nothingToClean(() => withOverrides(memoryBlobService(), breakage))
      expect(await brokenCases(blobServiceCases, make)).not.toEqual([])
    })

  it('(and finds nothing wrong with one that is whole)', async () => {
    const make = nothingToClean(() => withOverrides(memoryBlobService(), () => ({})))
    expect(await brokenCases(blobServiceCases, make, 20_000)).toEqual([])
  })
})

/** A service that offers chunks, with one promise about them broken. */
const chunkBreakages: Readonly<Record<string, Breakage>> = {
  'offers no chunks': (base) => listingAs(base, () => []),
  'loses a chunk': (base) => listingAs(base, (list) => list.slice(1)),
  'repeats a chunk': (base) => listingAs(base, (list) => [...list, ...list.slice(-1)]),
  'lists chunks out of order': (base) => listingAs(base, (list) => list.toReversed()),
  'tells false sizes': (base) =>
    listingAs(base, (list) => list.map((meta) => ({ ...meta, size: meta.size - 1 }))),
  'cannot read chunks': (base) => ({
    openRead: async (digest, call) => {
      const list = await base.chunks(digest, call)
      return list?.length ? base.openRead(digest, call) : undefined
    },
  }),
}

describe('the blob service suite catches a chunking service that', () => {
  for (const [title, breakage] of Object.entries(chunkBreakages))
    it(title, async () => {
      const make = nothingToClean(() => withOverrides(objectStoreBlobService(memoryObjectStore()), breakage))
      expect(await brokenCases(chunkCases['content-defined'], make, 20_000)).not.toEqual([])
    })
})

function withOverrides(base: BlobService, breakage: Breakage): BlobService {
  return {
    has: (digest, call) => base.has(digest, call),
    chunks: (digest, call) => base.chunks(digest, call),
    openRead: (digest, call) => base.openRead(digest, call),
    openWrite: (call) => base.openWrite(call),
    ...breakage(base),
  }
}

function bound(writer: BlobWriter): BlobWriter {
  return {
    write: (bytes) => writer.write(bytes),
    close: () => writer.close(),
    abort: () => writer.abort(),
  }
}

async function* pieces(list: readonly Uint8Array[]): BlobStream {
  yield* list
}

async function* reusingMemory(stream: BlobStream): BlobStream {
  const memory = new Uint8Array(1024 * 1024)
  for await (const piece of stream) {
    memory.set(piece)
    yield memory.subarray(0, piece.length)
  }
}

function readingThrough(base: BlobService, change: (stream: BlobStream) => BlobStream): Partial<BlobService> {
  return {
    async openRead(digest, call) {
      const stream = await base.openRead(digest, call)
      return stream && change(stream)
    },
  }
}

function readingAs(base: BlobService, change: (blob: Uint8Array[]) => Uint8Array[]): Partial<BlobService> {
  return readingThrough(base, async function* (stream) {
    yield* change(await collect(stream))
  })
}

function readingOnce(base: BlobService): Partial<BlobService> {
  const read = new Set<string>()
  return {
    async openRead(digest, call) {
      if (read.has(digest.key)) return undefined
      read.add(digest.key)
      return base.openRead(digest, call)
    },
  }
}

function writingAs(
  base: BlobService,
  change: (writer: BlobWriter) => Partial<BlobWriter>,
): Partial<BlobService> {
  return {
    openWrite(call) {
      const writer = base.openWrite(call)
      return { ...bound(writer), ...change(writer) }
    },
  }
}

function listingAs(
  base: BlobService,
  change: (list: readonly ChunkMeta[]) => readonly ChunkMeta[],
): Partial<BlobService> {
  return {
    async chunks(digest, call) {
      const list = await base.chunks(digest, call)
      return list?.length ? change(list) : list
    },
  }
}

async function storeCopy(base: BlobService, bytes: Uint8Array): Promise<void> {
  const writer = base.openWrite()
  await writer.write(bytes.slice())
  await writer.close()
}

function keepingMemory(): Partial<BlobService> {
  const blobs = new Map<string, Uint8Array[]>()
  return {
    has: async (digest) => blobs.has(digest.key),
    chunks: async (digest) => (blobs.has(digest.key) ? [] : undefined),
    openRead: async (digest) => (blobs.has(digest.key) ? pieces(blobs.get(digest.key)!) : undefined),
    openWrite() {
      const written: Uint8Array[] = []
      return {
        write: async (bytes) => void written.push(bytes),
        async close() {
          const digest = Digest.of(Buffer.concat(written))
          blobs.set(digest.key, written)
          return digest
        },
        abort: async () => {},
      }
    },
  }
}
