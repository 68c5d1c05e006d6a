import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EMPTY_DIGEST } from '../../../src/model/castore/digest.ts'
import type { SizeFormula } from '../../../src/model/castore/directory.ts'
import type { NarEvent } from '../../../src/model/nar/event.ts'
import { NarWriter } from '../../../src/model/nar/writer.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import type { DirectoryService } from '../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { concatBytes, hex, utf8 } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import {
  NAR_LARGE_UPLOADS_MAX,
  NAR_OPEN_ENTRIES_BYTES_MAX,
  NAR_UPLOADS_MAX,
  SMALL_BLOB_BYTES_MAX,
} from '../../../src/support/limits.ts'
import { ingestNar } from '../../../src/transfer/ingest-nar.ts'
import { renderNar } from '../../../src/transfer/render-nar.ts'
import { collect, inPieces } from '../../support/collect.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { randomTree, storeTree } from '../../support/random-trees.ts'
import { vectors } from '../../support/vectors.ts'

interface Services {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

const services = (): Services => ({ blobs: memoryBlobService(), directories: memoryDirectoryService() })

function narOf(...events: NarEvent[]): Uint8Array {
  const writer = new NarWriter()
  for (const event of events) writer.write(event)
  return concatBytes(writer.take())
}

const file = (contents: Uint8Array, executable = false): NarEvent[] => [
  { type: 'file', executable, size: contents.length },
  { type: 'contents', bytes: contents },
  { type: 'end-file' },
]

const entry = (name: string): NarEvent => ({ type: 'entry', name: utf8(name) as never })

function directoryOf(entries: Record<string, NarEvent[]>): NarEvent[] {
  const children = Object.entries(entries).flatMap(([name, events]) => [entry(name), ...events])
  return [{ type: 'directory' }, ...children, { type: 'end-directory' }]
}

describe('a NAR that was rendered is the tree that it was rendered from', () => {
  test.each(['rust', 'documented'] as SizeFormula[])(
    'with sizes by the %s formula',
    async (sizeFormula) => {
      await fc.assert(
        fc.asyncProperty(randomTree, fc.integer({ min: 1, max: 100_000 }), async (tree, pieceBytes) => {
          const source = services()
          const root = await storeTree(source, tree, sizeFormula)
          const nar = Buffer.concat(await collect(renderNar(source, root)))
          const target = services()
          const length = nar.length > 100_000 ? Math.max(pieceBytes, 5_000) : pieceBytes
          const ingested = await ingestNar(target, inPieces(nar, length), { sizeFormula })
          expect(ingested.node).toEqual(root)
          expect(ingested.narSize).toBe(BigInt(nar.length))
          expect(hex(ingested.narSha256)).toBe(createHash('sha256').update(nar).digest('hex'))
          const again = Buffer.concat(await collect(renderNar(target, ingested.node)))
          expect(again.equals(nar)).toBe(true)
        }),
        { numRuns: 60 },
      )
    },
    120_000,
  )
})

describe('vectors of nar.invalid', () => {
  const invalid = vectors.nar.invalid.cases as { what: string; nar_b64: string }[]
  test.each(invalid)('$what is refused', async ({ nar_b64 }) => {
    const nar = Buffer.from(nar_b64, 'base64')
    await expect(ingestNar(services(), inPieces(nar, 7))).rejects.toMatchObject({ code: 'invalid-argument' })
  })
})

describe('what is wrong is told with its place', () => {
  const nar = narOf(...directoryOf({ a: directoryOf({ b: file(utf8('contents')) }), c: file(utf8('x')) }))

  test('bytes after the end', async () => {
    const longer = concatBytes([nar, Uint8Array.of(0)])
    const error = await ingestNar(services(), inPieces(longer)).catch((e) => e)
    expect(error).toMatchObject({ code: 'invalid-argument', variant: 'TrailingData' })
    expect(error.message).toContain(`byte ${nar.length}`)
  })

  test('bytes after the end, in a piece of their own: the source is not read on', async () => {
    let pieces = 0
    async function* endless() {
      yield nar
      for (;;) {
        pieces++
        yield nar
      }
    }
    await expect(ingestNar(services(), endless())).rejects.toMatchObject({ variant: 'TrailingData' })
    expect(pieces).toBe(1)
  })

  test('an end that comes early', async () => {
    const error = await ingestNar(services(), inPieces(nar.subarray(0, 330))).catch((e) => e)
    expect(error).toMatchObject({ variant: 'UnexpectedEof' })
    expect(error.message).toContain('after 330 bytes')
    expect(error.message).toContain('"/a/b"')
  })

  test('a name with a slash', async () => {
    const wrong = Buffer.from(nar)
    const nodeOfB = wrong.indexOf('node', wrong.indexOf('node') + 4)
    wrong[nodeOfB - 16] = 0x2f // one padded name and a length before it
    const error = await ingestNar(services(), inPieces(wrong)).catch((e) => e)
    expect(error).toMatchObject({ code: 'invalid-argument' })
    expect(error.message).toMatch(/byte \d+/)
    expect(error.message).toContain('"/a"')
  })

  test('an error of the source comes out as it is', async () => {
    const broken = new StoreError('unavailable', 'the line is down')
    async function* source() {
      yield nar.subarray(0, 200)
      throw broken
    }
    await expect(ingestNar(services(), source())).rejects.toBe(broken)
  })
})

describe('order and bounds', () => {
  /** Blobs that wait, so that a test can look at what is going on. */
  function heldBlobs(base: BlobService) {
    const gate = Promise.withResolvers<void>()
    const seen = { writing: 0, writingMax: 0, stored: 0 }
    const held: BlobService = {
      has: (digest, call) => base.has(digest, call),
      chunks: (digest, call) => base.chunks(digest, call),
      openRead: (digest, call) => base.openRead(digest, call),
      openWrite: (call) => {
        const writer = base.openWrite(call)
        seen.writingMax = Math.max(seen.writingMax, ++seen.writing)
        return {
          write: (bytes) => writer.write(bytes),
          close: async () => {
            await gate.promise
            const digest = await writer.close()
            seen.writing--
            seen.stored++
            return digest
          },
          abort: async () => {
            seen.writing--
            await writer.abort()
          },
        }
      },
    }
    return { held, seen, open: () => gate.resolve() }
  }

  function zeros(): NarEvent[] {
    return file(new Uint8Array(SMALL_BLOB_BYTES_MAX + 1))
  }

  const manyFiles = (count: number) =>
    directoryOf(
      Object.fromEntries(
        Array.from({ length: count }, (_, i) => [
          `f${String(i).padStart(5, '0')}`,
          file(utf8(`contents ${i}`)),
        ]),
      ),
    )

  test('small blobs are uploaded at the same time, but not all of them', async () => {
    const { held, seen, open } = heldBlobs(memoryBlobService())
    const count = 3 * NAR_UPLOADS_MAX
    const ingested = ingestNar(
      { blobs: held, directories: memoryDirectoryService() },
      inPieces(narOf(...manyFiles(count))),
    )
    while (seen.writing < NAR_UPLOADS_MAX) await new Promise(setImmediate)
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    expect(seen.writingMax).toBe(NAR_UPLOADS_MAX)
    open()
    await ingested
    expect(seen.stored).toBe(count)
  })

  test('large blobs are read while others are on their way to the disk, but not all of them', async () => {
    const { held, seen, open } = heldBlobs(memoryBlobService())
    const count = 2 * NAR_LARGE_UPLOADS_MAX
    const large = (i: number) => file(pseudoRandom(SMALL_BLOB_BYTES_MAX + 1, i + 1))
    const nar = narOf(
      ...directoryOf(
        Object.fromEntries(
          Array.from({ length: count }, (_, i) => [
            `d${String(i).padStart(2, '0')}`,
            directoryOf({ deep: directoryOf({ large: large(i), small: file(utf8(`${i}`)) }) }),
          ]),
        ),
      ),
    )
    const target = { blobs: held, directories: memoryDirectoryService() }
    const ingested = ingestNar(target, inPieces(nar))
    const reached = () => seen.writing >= 2 * NAR_LARGE_UPLOADS_MAX
    while (!reached()) await new Promise(setImmediate)
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    // As many small ones, which have places of their own.
    expect(seen.writingMax).toBe(2 * NAR_LARGE_UPLOADS_MAX)
    open()
    const { node } = await ingested
    expect(seen.stored).toBe(2 * count)
    expect(Buffer.concat(await collect(renderNar(target, node))).equals(nar)).toBe(true)
  })

  test('directories become visible only after all blobs', async () => {
    const { held, seen, open } = heldBlobs(memoryBlobService())
    const directories = memoryDirectoryService()
    let closedAfter = -1
    const watched: DirectoryService = {
      get: (digest, call) => directories.get(digest, call),
      getRecursive: (digest, call) => directories.getRecursive(digest, call),
      put: (directory, call) => directories.put(directory, call),
      startPutter: (call) => {
        const putter = directories.startPutter(call)
        return {
          put: (directory) => putter.put(directory),
          close: () => {
            closedAfter = seen.stored
            return putter.close()
          },
        }
      },
    }
    const ingested = ingestNar({ blobs: held, directories: watched }, inPieces(narOf(...manyFiles(10))))
    while (seen.writing < 10) await new Promise(setImmediate)
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    expect(closedAfter).toBe(-1)
    open()
    await ingested
    expect(closedAfter).toBe(10)
  })

  test.each([
    ['small', manyFiles(500)],
    [
      'large',
      directoryOf({
        a: directoryOf(Object.fromEntries(['1', '2', '3', '4', '5'].map((name) => [name, zeros()]))),
        b: zeros(),
      }),
    ],
  ])(
    'a %s blob that cannot be stored ends everything with its error, and soon nothing goes on',
    async (_, tree) => {
      const base = memoryBlobService()
      const full = new StoreError('exhausted', 'the disk is full')
      let opened = 0
      let writing = 0
      const failing: BlobService = {
        has: async () => false,
        chunks: (digest, call) => base.chunks(digest, call),
        openRead: (digest, call) => base.openRead(digest, call),
        openWrite: () => {
          const number = ++opened
          writing++
          return {
            write: async () => {},
            close: async () => {
              await new Promise(setImmediate)
              if (number === 3) throw full
              writing--
              return EMPTY_DIGEST
            },
            abort: async () => {
              writing--
            },
          }
        },
      }
      const directories = memoryDirectoryService()
      const ingested = ingestNar({ blobs: failing, directories }, inPieces(narOf(...tree)))
      await expect(ingested).rejects.toBe(full)
      // Uploads are shared among callers, so one that leaves does not wait for them to end.
      for (let i = 0; i < 10; i++) await new Promise(setImmediate)
      expect(writing).toBe(0)
    },
  )

  test('an aborted ingestion ends with the reason, and gives up what it wrote', async () => {
    const controller = new AbortController()
    let aborted = 0
    const base = memoryBlobService()
    const blobs: BlobService = {
      has: (digest) => base.has(digest),
      chunks: (digest) => base.chunks(digest),
      openRead: (digest) => base.openRead(digest),
      openWrite: (call) => {
        const writer = base.openWrite(call)
        return {
          write: (bytes) => writer.write(bytes),
          close: () => writer.close(),
          abort: () => {
            aborted++
            return writer.abort()
          },
        }
      },
    }
    const nar = narOf(...file(pseudoRandom(2 * SMALL_BLOB_BYTES_MAX, 1)))
    async function* source() {
      yield nar.subarray(0, SMALL_BLOB_BYTES_MAX)
      controller.abort(new StoreError('cancelled', 'enough'))
      yield nar.subarray(SMALL_BLOB_BYTES_MAX)
    }
    const directories = memoryDirectoryService()
    const ingested = ingestNar({ blobs, directories }, source(), { signal: controller.signal })
    await expect(ingested).rejects.toMatchObject({ code: 'cancelled', message: 'enough' })
    expect(aborted).toBe(1)
  })

  test('open directories take only so much memory', async () => {
    const target = new Uint8Array(4000).fill(0x61)
    const count = Math.ceil(NAR_OPEN_ENTRIES_BYTES_MAX / 4200)
    async function* endless() {
      const writer = new NarWriter()
      writer.write({ type: 'directory' })
      for (let i = 0; i < 2 * count; i++) {
        writer.write(entry(String(i).padStart(9, '0')))
        writer.write({ type: 'symlink', target: target as never })
        if (writer.pendingBytes > 1_000_000) yield* writer.take()
      }
    }
    const error = await ingestNar(services(), endless()).catch((e) => e)
    expect(error).toMatchObject({ code: 'exhausted' })
  })

  test('a large piece does not block the event loop', async () => {
    const nar = narOf(...file(new Uint8Array(256 * 1024 * 1024)))
    async function* source() {
      yield nar
    }
    const stored: BlobService = {
      ...memoryBlobService(),
      openWrite: () => ({
        write: async () => {},
        close: async () => undefined as never,
        abort: async () => {},
      }),
    }
    let turns = 0
    let isDone = false
    const count = () => {
      turns++
      if (!isDone) setImmediate(count)
    }
    setImmediate(count)
    await ingestNar({ blobs: stored, directories: memoryDirectoryService() }, source())
    isDone = true
    expect(turns).toBeGreaterThan(10)
  })
})

describe('the digest that a content address needs', () => {
  const contents = utf8('the contents')
  const address = (kind: 'nar' | 'flat' | 'text', algorithm: 'md5' | 'sha1' | 'sha256' | 'sha512') => ({
    kind,
    algorithm,
    digest: new Uint8Array(0),
  })

  test.each(['md5', 'sha1', 'sha256', 'sha512'] as const)('of the NAR by %s', async (algorithm) => {
    const nar = narOf(...directoryOf({ a: file(contents) }))
    const { contentDigest } = await ingestNar(services(), inPieces(nar), {
      contentAddress: address('nar', algorithm),
    })
    expect(hex(contentDigest!)).toBe(createHash(algorithm).update(nar).digest('hex'))
  })

  test.each(['flat', 'text'] as const)('of the file, %s', async (kind) => {
    const nar = narOf(...file(contents))
    const { contentDigest } = await ingestNar(services(), inPieces(nar), {
      contentAddress: address(kind, 'sha256'),
    })
    expect(hex(contentDigest!)).toBe(createHash('sha256').update(contents).digest('hex'))
  })

  test.each([
    ['a directory', directoryOf({ a: file(contents) })],
    ['an executable', file(contents, true)],
    ['a symlink', [{ type: 'symlink', target: utf8('x') }] as never],
  ])('of %s there is none', async (_, events: NarEvent[]) => {
    const options = { contentAddress: address('flat', 'sha256') }
    const { contentDigest } = await ingestNar(services(), inPieces(narOf(...events)), options)
    expect(contentDigest).toBeUndefined()
  })
})
