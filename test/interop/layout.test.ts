/**
 * The layout that other programs share with us on disks and in buckets: a reader written from its description finds
 * everything that we stored, and we read what is stored the way that the Rust implementation stores it.
 */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Directory } from '../../src/model/castore/directory.ts'
import type { DirectoryNode, Node } from '../../src/model/castore/node.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { objectStoreDirectoryService } from '../../src/services/directories/object-store.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { openFileObjectStore } from '../../src/services/objects/file.ts'
import { view } from '../../src/support/bytes.ts'
import { ingestTree } from '../../src/transfer/ingest-tree.ts'
import { collect } from '../support/collect.ts'
import { type LayoutEntry, LayoutReader } from '../support/layout-reader.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { tempDir } from '../support/temp-dir.ts'

let dir: Awaited<ReturnType<typeof tempDir>>
let store: string
let root: DirectoryNode
let source: Map<string, LayoutEntry>

beforeAll(async () => {
  dir = await tempDir()
  makeSourceTree(join(dir.path, 'source'))
  source = walkSource(Buffer.from(join(dir.path, 'source')), '')
  store = join(dir.path, 'store')
  root = (await ingestTree(await services(), join(dir.path, 'source'), {
    sizeFormula: 'rust',
  })) as DirectoryNode
})
afterAll(() => dir[Symbol.asyncDispose]())

async function services() {
  const objects = await openFileObjectStore(store)
  return {
    blobs: verifyingBlobService(objectStoreBlobService(objects), objects.name),
    directories: verifyingDirectoryService(objectStoreDirectoryService(objects), objects.name),
  }
}

/** What is on disk, said as the reader of the layout says it. */
function walkSource(folder: Buffer, path: string): Map<string, LayoutEntry> {
  const found = new Map<string, LayoutEntry>()
  for (const name of readdirSync(folder, { encoding: 'buffer' })) {
    const file = Buffer.concat([folder, Buffer.from('/'), name])
    const at = `${path}/${name.toString('latin1')}`
    const stats = lstatSync(file)
    if (stats.isDirectory()) {
      found.set(at, { kind: 'directory' })
      for (const [below, entry] of walkSource(file, at)) found.set(below, entry)
    } else if (stats.isSymbolicLink())
      found.set(at, { kind: 'symlink', target: readlinkSync(file, { encoding: 'buffer' }) })
    else found.set(at, { kind: 'file', executable: (stats.mode & 0o100) !== 0, contents: readFileSync(file) })
  }
  return found
}

/** The same by our own services. */
async function readTree(): Promise<Map<string, LayoutEntry>> {
  const { blobs, directories } = await services()
  const closure = new Map<string, Directory>()
  for (const directory of await collect(directories.getRecursive(root.digest)))
    closure.set(directory.digest.hex, directory)
  const found = new Map<string, LayoutEntry>()
  const entryOf = async (node: Node): Promise<LayoutEntry> => {
    if (node.kind === 'directory') return { kind: 'directory' }
    if (node.kind === 'symlink') return { kind: 'symlink', target: Buffer.from(node.target) }
    const contents = await readBlob(blobs, node.digest)
    if (!contents) throw new Error(`blob ${node.digest} is absent`)
    return { kind: 'file', executable: node.executable, contents: Buffer.from(contents) }
  }
  const walk = async (digest: string, path: string): Promise<void> => {
    for (const { name, node } of closure.get(digest)?.entries ?? []) {
      const at = `${path}/${view(name).toString('latin1')}`
      found.set(at, await entryOf(node))
      if (node.kind === 'directory') await walk(node.digest.hex, at)
    }
  }
  await walk(root.digest.hex, '')
  return found
}

/** Contents by their hash, so that a difference is found fast and shown short. */
function sorted(entries: Map<string, LayoutEntry>): unknown[] {
  return [...entries]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, entry]) => [
      path,
      entry.kind === 'file' ? { ...entry, contents: sha256(entry.contents) } : entry,
    ])
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

describe('a store directory that we wrote', () => {
  it('is complete for a reader that knows the layout and nothing else', async () => {
    const reader = new LayoutReader(store)
    expect(reader.roots()).toContain(root.digest.hex)
    expect(sorted(await reader.tree(root.digest.hex))).toEqual(sorted(source))
  })

  it('has nothing beside the families of keys that are described, and the index that is ours', () => {
    const families = readdirSync(store).filter((name) => !name.startsWith('.'))
    expect(families.sort()).toEqual(['blobs', 'chunks', 'directories', 'dirs'])
  })

  it('is missed by that reader where it is not complete (control)', async () => {
    const [key] = readdirSync(join(store, 'chunks/b3'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
    const frame = readFileSync(key!)
    const damaged = Buffer.from(frame)
    damaged[damaged.length - 1]! ^= 1
    writeFileSync(key!, damaged)
    await expect(new LayoutReader(store).tree(root.digest.hex)).rejects.toThrow()
    writeFileSync(key!, frame)
  })
})

describe('a store directory with frames of upstream’s kind', () => {
  /** Written piece by piece: no size in the header, a checksum at the end. */
  async function streamed(bytes: Buffer): Promise<Buffer> {
    const params = { [constants.ZSTD_c_checksumFlag]: 1, [constants.ZSTD_c_contentSizeFlag]: 0 }
    const compressor = createZstdCompress({ params })
    for (let at = 0; at < bytes.length; at += 10_000) compressor.write(bytes.subarray(at, at + 10_000))
    compressor.end()
    return Buffer.concat(await compressor.toArray())
  }

  const half = (bytes: Buffer) => bytes.length >>> 1
  const writers: Readonly<Record<string, (bytes: Buffer) => Promise<Buffer>>> = {
    'streamed, with checksums and without sizes': streamed,
    'in several frames': async (bytes) =>
      Buffer.concat([
        await streamed(bytes.subarray(0, half(bytes))),
        await streamed(bytes.subarray(half(bytes))),
      ]),
  }

  for (const [title, write] of Object.entries(writers))
    it(`is read by us: ${title}`, async () => {
      for (const family of ['chunks', 'dirs', 'directories'])
        for (const entry of readdirSync(join(store, family), { recursive: true, withFileTypes: true })) {
          if (!entry.isFile()) continue
          const path = join(entry.parentPath, entry.name)
          const frame = await write(await unfold(readFileSync(path)))
          // Frame_Content_Size_flag 0 and no Single_Segment_flag (RFC 8878 §3.1.1.1): no size; and a checksum.
          expect(frame[4]! & 0b1110_0100).toBe(0b0000_0100)
          writeFileSync(path, frame)
        }
      expect(sorted(await readTree())).toEqual(sorted(source))
    })

  /** All frames of an object. */
  async function unfold(frames: Buffer): Promise<Buffer> {
    const decompressor = createZstdDecompress()
    decompressor.end(frames)
    return Buffer.concat(await decompressor.toArray())
  }
})
