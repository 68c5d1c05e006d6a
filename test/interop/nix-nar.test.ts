/** Nix itself on the other side: what it dumps, what we render and what we take in are the same. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Directory } from '../../src/model/castore/directory.ts'
import type { Node } from '../../src/model/castore/node.ts'
import { pathComponent } from '../../src/model/castore/path-component.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { hex, utf8 } from '../../src/support/bytes.ts'
import { ingestNar } from '../../src/transfer/ingest-nar.ts'
import { ingestTree } from '../../src/transfer/ingest-tree.ts'
import { openNar } from '../../src/transfer/nar-reader.ts'
import { renderNar } from '../../src/transfer/render-nar.ts'
import { collect } from '../support/collect.ts'
import { nested, type RandomTree, randomTree } from '../support/random-trees.ts'
import { FULL, HAS_NIX } from '../support/requirements.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { tempDir } from '../support/temp-dir.ts'

const TREES = 60
const NODE_MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))

function services() {
  const blobs = verifyingBlobService(objectStoreBlobService(memoryObjectStore()), 'test')
  return { blobs, directories: memoryDirectoryService() }
}

async function* dump(path: string): AsyncGenerator<Uint8Array> {
  const child = spawn('nix-store', ['--dump', path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  yield* child.stdout
  if ((await ended) !== 0) throw new Error(`nix-store --dump ${path} failed`)
}

async function sha256(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

function writeTree(path: Buffer, tree: RandomTree): void {
  if (tree.kind === 'symlink') symlinkSync(Buffer.from(tree.target), path)
  else if (tree.kind === 'file') writeFileSync(path, tree.contents, { mode: tree.executable ? 0o755 : 0o644 })
  else {
    mkdirSync(path)
    for (const [name, child] of tree.entries) writeTree(Buffer.concat([path, Buffer.from('/'), name]), child)
  }
}

/** Equal for equal nodes, whatever their bytes lie in. */
function identity(node: Node): string {
  return Directory.from([{ name: pathComponent(utf8('root')), node }]).digest.hex
}

/** The tree comes in from the disk; its NAR, dumped by Nix, must say the same. */
async function compare(path: string): Promise<{ node: Node; store: ReturnType<typeof services> }> {
  const store = services()
  const node = await ingestTree(store, path, { sizeFormula: 'rust' })
  const dumped = await ingestNar(services(), dump(path))
  expect(identity(dumped.node)).toBe(identity(node))
  expect(await sha256(renderNar(store, node))).toBe(hex(dumped.narSha256))
  return { node, store }
}

describe.skipIf(!HAS_NIX)('nix-store --dump', () => {
  test(`${TREES} generated trees, byte for byte`, async () => {
    let compared = 0
    await fc.assert(
      fc.asyncProperty(randomTree, fc.integer({ min: 0, max: 60 }), async (tree, depth) => {
        await using folder = await tempDir()
        const path = join(folder.path, 'tree')
        writeTree(Buffer.from(path), compared % 10 === 9 ? nested(tree, depth) : tree)
        const store = services()
        const node = await ingestTree(store, path, { sizeFormula: 'rust' })
        const dumped = Buffer.concat(await collect(dump(path)))
        expect(Buffer.concat(await collect(renderNar(store, node))).equals(dumped)).toBe(true)
        expect((await openNar(store, node)).size).toBe(dumped.length)
        async function* once() {
          yield dumped
        }
        expect(identity((await ingestNar(services(), once())).node)).toBe(identity(node))
        compared++
      }),
      // A smaller counterexample would take Nix so many runs that the test ended before it told of any.
      { numRuns: TREES, endOnFailure: true },
    )
    expect(compared).toBeGreaterThanOrEqual(TREES)
  }, 120_000)

  test('one of everything', async () => {
    await using folder = await tempDir()
    const path = join(folder.path, 'tree')
    makeSourceTree(path)
    await compare(path)
  })

  const REAL = [
    '/usr/share/perl5',
    '/usr/lib/python3',
    FULL ? NODE_MODULES : join(NODE_MODULES, 'typescript'),
  ]
  test.each(REAL.filter((path) => existsSync(path) && existsSync(dirname(path))))(
    '%s',
    (path) => compare(path).then(() => {}),
    120_000,
  )
})
