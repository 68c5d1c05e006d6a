/** Trees for property tests: names and targets of bytes, executables, deep and empty directories, equal contents. */
import fc from 'fast-check'
import { Directory, type SizeFormula } from '../../src/model/castore/directory.ts'
import type { Entry, Node } from '../../src/model/castore/node.ts'
import { pathComponent, pathComponentFault } from '../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../src/model/castore/symlink-target.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { view } from '../../src/support/bytes.ts'
import { pseudoRandom } from './pseudo-random.ts'

export type RandomTree =
  | { readonly kind: 'file'; readonly contents: Uint8Array; readonly executable: boolean }
  | { readonly kind: 'symlink'; readonly target: Uint8Array }
  | { readonly kind: 'directory'; readonly entries: readonly (readonly [Uint8Array, RandomTree])[] }

const byteOfName = fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 0x2f)
const anyName = fc
  .oneof(
    fc.uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 12 }),
    fc.array(byteOfName, { minLength: 1, maxLength: 255 }).map((bytes) => Uint8Array.from(bytes)),
    fc.stringMatching(/^[a-c]{1,3}$/).map((text) => new Uint8Array(Buffer.from(text))),
  )
  .filter((name) => pathComponentFault(name) === undefined)

const anyContents = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 64 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 20_000 }).map((size) => pseudoRandom(size, size)) },
  // Above and around what is held in memory, so that it is chunked.
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: -5, max: 600_000 })
      .map((more) => pseudoRandom(1024 * 1024 + more, more + 6)),
  },
)

const anyTarget = fc
  .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 400 })
  .map((bytes) => Uint8Array.from(bytes))

export const randomTree: fc.Arbitrary<RandomTree> = fc.letrec<{ node: RandomTree }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    fc.record({ kind: fc.constant('file' as const), contents: anyContents, executable: fc.boolean() }),
    fc.record({ kind: fc.constant('symlink' as const), target: anyTarget }),
    fc.record({
      kind: fc.constant('directory' as const),
      entries: fc.uniqueArray(fc.tuple(anyName, tie('node')), {
        maxLength: 8,
        selector: ([name]) => view(name).toString('latin1'),
      }),
    }),
  ),
})).node

/** `tree` inside `depth` directories. */
export function nested(tree: RandomTree, depth: number): RandomTree {
  let node = tree
  for (let i = 0; i < depth; i++) node = { kind: 'directory', entries: [[Uint8Array.of(0x64), node]] }
  return node
}

/** Stores a tree without any of the code that is tested. */
export async function storeTree(
  services: { readonly blobs: BlobService; readonly directories: DirectoryService },
  tree: RandomTree,
  formula: SizeFormula = 'rust',
): Promise<Node> {
  if (tree.kind === 'symlink') return { kind: 'symlink', target: symlinkTarget(tree.target) }
  if (tree.kind === 'file') {
    const writer = services.blobs.openWrite()
    if (tree.contents.length > 0) await writer.write(tree.contents)
    const digest = await writer.close()
    return { kind: 'file', digest, size: BigInt(tree.contents.length), executable: tree.executable }
  }
  const entries: Entry[] = []
  for (const [name, child] of tree.entries)
    entries.push({ name: pathComponent(name), node: await storeTree(services, child, formula) })
  const directory = Directory.from(entries)
  await services.directories.put(directory)
  return { kind: 'directory', digest: directory.digest, size: directory.size(formula) }
}
