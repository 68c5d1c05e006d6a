import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Directory } from '../../../src/model/castore/directory.ts'
import type { Node } from '../../../src/model/castore/node.ts'
import { pathComponent } from '../../../src/model/castore/path-component.ts'
import { ListingBuilder, type ListingNode } from '../../../src/model/nar/listing.ts'
import { printListing } from '../../../src/model/nar/listing-json.ts'
import { NarParser } from '../../../src/model/nar/parser.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { hex, utf8 } from '../../../src/support/bytes.ts'
import { narListing } from '../../../src/transfer/nar-listing.ts'
import { renderNar } from '../../../src/transfer/render-nar.ts'
import { collect } from '../../support/collect.ts'
import { type RandomTree, randomTree, storeTree } from '../../support/random-trees.ts'
import { vectors } from '../../support/vectors.ts'

const file = (contents: string): RandomTree => ({ kind: 'file', contents: utf8(contents), executable: false })
const SYMLINK: RandomTree = { kind: 'symlink', target: utf8('/nix/store/somewhereelse') }
const FIXTURES: Record<string, RandomTree> = {
  symlink: SYMLINK,
  helloworld: file('Hello World!'),
  complicated: {
    kind: 'directory',
    entries: [
      [utf8('.keep'), file('')],
      [utf8('aa'), SYMLINK],
      [utf8('keep'), { kind: 'directory', entries: [[utf8('.keep'), file('')]] }],
    ],
  },
}

test.each(vectors.nar.listing_json.cases as { nar: string; json: string }[])(
  'vectors nar.listing_json: $nar',
  async ({ nar, json }) => {
    const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const root = await storeTree(services, FIXTURES[nar]!)
    const document = printListing(await narListing(services.directories, root))
    expect(Buffer.from(document).toString('utf8')).toBe(json)
  },
)

/** Bytes as text: whether they lie in a Buffer makes no difference. */
function plain(node: ListingNode): unknown {
  if (node.type === 'symlink') return { ...node, target: hex(node.target) }
  if (node.type !== 'directory') return node
  return { ...node, entries: node.entries.map(({ name, node }) => ({ name: hex(name), node: plain(node) })) }
}

test('is that of the NAR, and reads no blob', async () => {
  await fc.assert(
    fc.asyncProperty(randomTree, async (tree) => {
      const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
      const root = await storeTree(services, tree)
      const parser = new NarParser()
      const builder = new ListingBuilder()
      for (const piece of await collect(renderNar(services, root)))
        for (const event of parser.push(piece)) builder.add(event, parser.consumed)
      expect(plain(await narListing(services.directories, root))).toEqual(plain(builder.finish()))
    }),
    { numRuns: 50 },
  )
})

test('a tree of more entries than a listing has is refused', async () => {
  const directories = memoryDirectoryService()
  let node: Node = { kind: 'symlink', target: utf8('x') as never }
  for (let level = 0; level < 2; level++) {
    const names = Array.from({ length: 2000 }, (_, i) => pathComponent(utf8(`${i}`)))
    const directory = Directory.from(names.map((name) => ({ name, node })))
    await directories.put(directory)
    node = { kind: 'directory', digest: directory.digest, size: directory.size('documented') }
  }
  await expect(narListing(directories, node)).rejects.toMatchObject({ code: 'exhausted' })
}, 60_000)
