import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { Digest } from '../../../src/model/castore/digest.ts'
import { Directory } from '../../../src/model/castore/directory.ts'
import type { Node } from '../../../src/model/castore/node.ts'
import { pathComponent } from '../../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../../src/model/castore/symlink-target.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import type { DirectoryService } from '../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { hex, utf8 } from '../../../src/support/bytes.ts'
import { SMALL_BLOB_BYTES_MAX } from '../../../src/support/limits.ts'
import { localNarCalculation } from '../../../src/transfer/nar-calculation.ts'
import { renderNar } from '../../../src/transfer/render-nar.ts'
import { vectors } from '../../support/vectors.ts'

let blobs: BlobService
let directories: DirectoryService

beforeEach(() => {
  blobs = memoryBlobService()
  directories = memoryDirectoryService()
})

async function file(contents: Uint8Array, executable = false): Promise<Node> {
  const writer = blobs.openWrite()
  await writer.write(contents)
  return { kind: 'file', digest: await writer.close(), size: BigInt(contents.length), executable }
}

async function directory(entries: Record<string, Node>): Promise<Node> {
  const made = Directory.from(
    Object.entries(entries).map(([name, node]) => ({ name: pathComponent(utf8(name)), node })),
  )
  await directories.put(made)
  return { kind: 'directory', digest: made.digest, size: made.size('rust') }
}

const link = (target: string): Node => ({ kind: 'symlink', target: symlinkTarget(utf8(target)) })

const FIXTURES: Record<string, () => Promise<Node>> = {
  symlink: async () => link('/nix/store/somewhereelse'),
  helloworld: () => file(utf8('Hello World!')),
  complicated: async () => {
    const keep = await file(new Uint8Array())
    return directory({
      '.keep': keep,
      aa: link('/nix/store/somewhereelse'),
      keep: await directory({ '.keep': keep }),
    })
  },
  go_emptydirectory: () => directory({}),
  go_onebyteregular: () => file(Uint8Array.of(1)),
  go_symlink: async () => link('/nix/store/somewhereelse'),
  executable: () => file(utf8('Hello World!'), true),
  empty_file: () => file(new Uint8Array()),
}

describe('vectors of nar.valid', () => {
  for (const vector of vectors.nar.valid)
    test(vector.name, async () => {
      const root = await FIXTURES[vector.name]!()
      const pieces: Uint8Array[] = []
      for await (const piece of renderNar({ blobs, directories }, root)) pieces.push(piece)
      expect(Buffer.concat(pieces).toString('base64')).toBe(vector.nar_b64)
      const { narSize, narSha256 } = await localNarCalculation({ blobs, directories }).calculateNar(root)
      expect(narSize).toBe(BigInt(vector.nar_size))
      expect(hex(narSha256)).toBe(vector.nar_sha256_hex)
    })
})

test('large blobs are streamed, small ones come in order', async () => {
  const large = Buffer.alloc(SMALL_BLOB_BYTES_MAX + 12345, 'large ')
  const entries: Record<string, Node> = { m: await file(large) }
  for (let i = 0; i < 100; i++) entries[`f${i}`] = await file(utf8(`contents ${i}`))
  const root = await directory(entries)
  const rendered: Uint8Array[] = []
  for await (const piece of renderNar({ blobs, directories }, root)) rendered.push(piece)
  const nar = Buffer.concat(rendered)
  const positions = Object.keys(entries)
    .filter((name) => name !== 'm')
    .sort()
    .map((name) => nar.indexOf(`contents ${name.slice(1)}\0`))
  expect(positions.every((position) => position > 0)).toBe(true)
  expect(positions).toEqual([...positions].sort((a, b) => a - b))
  expect(nar.includes(large)).toBe(true)
  const sha256 = createHash('sha256').update(nar).digest()
  const { narSha256 } = await localNarCalculation({ blobs, directories }).calculateNar(root)
  expect(hex(narSha256)).toBe(hex(sha256))
})

describe('what is stored wrongly is corrupt, and named (vectors nar.render_errors)', () => {
  const contents = utf8('Hello World!')
  const digest = Digest.of(contents)
  const render = async (node: Node) => {
    for await (const _ of renderNar({ blobs, directories }, node));
  }

  test.each([
    ['a node of 42 bytes for a blob of 12', 42n],
    ['a node of 2 bytes for a blob of 12', 2n],
    ['a large node for a small blob', BigInt(2 * SMALL_BLOB_BYTES_MAX)],
  ])('%s', async (_, size) => {
    await file(contents)
    const error = await render({ kind: 'file', digest, size, executable: false }).catch((e) => e)
    expect(error).toMatchObject({ code: 'corrupt' })
    expect(error.message).toContain(digest.toString())
  })

  test.each([12n, BigInt(2 * SMALL_BLOB_BYTES_MAX)])('a missing blob of %d bytes', async (size) => {
    const error = await render({ kind: 'file', digest, size, executable: false }).catch((e) => e)
    expect(error).toMatchObject({ code: 'corrupt' })
    expect(error.message).toContain(digest.toString())
  })

  test('a missing directory', async () => {
    const error = await render({ kind: 'directory', digest, size: 2n }).catch((e) => e)
    expect(error).toMatchObject({ code: 'corrupt' })
    expect(error.message).toContain(digest.toString())
  })
})
