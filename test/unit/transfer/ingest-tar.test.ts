import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SizeFormula } from '../../../src/model/castore/directory.ts'
import type { DirectoryNode } from '../../../src/model/castore/node.ts'
import type { BlobService } from '../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import type { DirectoryService } from '../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { utf8 } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import {
  SMALL_BLOB_BYTES_MAX,
  TAR_ENTRIES_BYTES_MAX,
  TAR_EXTENSION_BYTES_MAX,
  TREE_DEPTH_MAX,
} from '../../../src/support/limits.ts'
import { ingestTar } from '../../../src/transfer/ingest-tar.ts'
import { inPieces } from '../../support/collect.ts'
import { MemoryStore } from '../../support/memory-store.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { type RandomTree, randomTree, storeTree } from '../../support/random-trees.ts'
import { TAR_END, type TarEntry, tarEntriesOf, tarEntry, tarOf, withChecksum } from '../../support/tar.ts'
import { vectors } from '../../support/vectors.ts'

interface Services {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

const services = (): Services => ({ blobs: memoryBlobService(), directories: memoryDirectoryService() })

function ingest(tar: Uint8Array, target = services(), sizeFormula: SizeFormula = 'rust') {
  return ingestTar(target, inPieces(tar), { sizeFormula })
}

/** Ingests a tree made of these entries, and compares it with one made by hand. */
async function expectTree(
  entries: readonly TarEntry[],
  wanted: (store: MemoryStore) => Promise<DirectoryNode>,
) {
  expect(await ingest(tarOf(...entries))).toEqual(await wanted(new MemoryStore()))
}

const file = (path: string, contents = 'contents'): TarEntry => ({ path, contents: utf8(contents) })
const folder = (path: string): TarEntry => ({ path, type: '5' })
const link = (path: string, target: string): TarEntry => ({ path, type: '1', link: target })

describe('a tar of a tree is that tree', () => {
  test.each(['rust', 'documented'] as SizeFormula[])(
    'with sizes by the %s formula',
    async (formula) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(randomTree, { minLength: 1, maxLength: 5 }),
          fc.integer({ min: 1, max: 100_000 }),
          async (children, pieceBytes) => {
            const entries = children.map((child, i) => [utf8(`child ${i}`), child] as const)
            const tree: RandomTree = { kind: 'directory', entries }
            const tar = tarOf(...tarEntriesOf(tree, utf8('top')))
            const length = tar.length > 100_000 ? Math.max(pieceBytes, 5_000) : pieceBytes
            const root = await ingestTar(services(), inPieces(tar, length), { sizeFormula: formula })
            expect(root).toEqual(await storeTree(services(), tree, formula))
          },
        ),
        { numRuns: 60 },
      )
    },
    120_000,
  )
})

describe('vectors', () => {
  const entriesOf = (lines: readonly string[]): TarEntry[] =>
    lines.map((line) => {
      const [kind, path] = line.split(' ') as [string, string]
      return kind === 'dir' ? folder(path) : file(path, path)
    })

  test.each(vectors.import.archive_graph_ok as { name: string; in: string[]; out: string[] }[])(
    'archive_graph_ok: $name',
    async ({ in: written, out }) => {
      expect(await ingest(tarOf(...entriesOf(written)))).toEqual(await ingest(tarOf(...entriesOf(out))))
    },
  )

  test.each(vectors.import.archive_graph_fail as { name: string; in: string[]; error: string }[])(
    'archive_graph_fail: $name',
    async ({ in: written, error }) => {
      await expect(ingest(tarOf(...entriesOf(written)))).rejects.toThrow(error)
    },
  )
})

describe('entries', () => {
  test('come in any order, without their directories, with dots in their paths', async () => {
    const entries = [file('./a/./b//c'), folder('./'), file('a/x/../d'), folder('a/b')]
    await expectTree(entries, async (store) =>
      store.directory({
        b: await store.directory({ c: await store.file('contents') }),
        d: await store.file('contents'),
      }),
    )
  })

  test('replace earlier ones, but for directories, which keep what is in them', async () => {
    const entries = [
      ...[file('a/f', 'old'), file('a/d/gone'), file('a/kept/one'), { path: 'a/l', type: '2', link: 'x' }],
      ...[
        file('a/f', 'new'),
        file('a/d', 'now a file'),
        folder('a/kept'),
        file('a/l/in', 'not through the link'),
      ],
    ]
    await expectTree(entries, async (store) =>
      store.directory({
        f: await store.file('new'),
        d: await store.file('now a file'),
        kept: await store.directory({ one: await store.file('contents') }),
        l: await store.directory({ in: await store.file('not through the link') }),
      }),
    )
  })

  test('of a hard link are what its target was when it came', async () => {
    const large = pseudoRandom(SMALL_BLOB_BYTES_MAX + 1, 1)
    const entries = [
      { path: 'a/large', contents: large, mode: 0o755 },
      { path: 'a/symlink', type: '2', link: 'x' },
      ...[file('a/f', 'old'), link('a/to-f', './a/f'), file('a/f', 'new')],
      // Some programs give the size of the file.
      { ...link('a/to-large', 'a/large'), size: large.length },
      link('a/to-symlink', 'a/symlink'),
    ]
    await expectTree(entries, async (store) => {
      const symlink = { kind: 'symlink', target: utf8('x') as never } as const
      const stored = await store.file(large, true)
      return store.directory({
        ...{ large: stored, 'to-large': stored, symlink, 'to-symlink': symlink },
        ...{ f: await store.file('new'), 'to-f': await store.file('old') },
      })
    })
  })

  test('have names, targets and sizes in extended headers, for one or for all that follow', async () => {
    const name = Buffer.concat([utf8('a/'), Buffer.from([0xff, 0xfe]), Buffer.alloc(200, 0x78)])
    const entries: TarEntry[] = [
      { path: 'pax', type: 'g', contents: utf8('22 comment=of no use\n'.replace('22', '21')) },
      {
        path: 'short',
        contents: utf8('contents'),
        size: 0,
        pax: [
          ['path', name],
          ['size', '8'],
          ['mtime', '1.5'],
        ],
      },
      { path: 'a/l', type: '2', link: 'other', pax: [['linkpath', Buffer.from([0x80, 0x2f])]] },
      { path: 'a/plain', pax: [['path', '']] },
    ]
    const { node } = await lookedUp(entries)
    expect(node.map(({ name: each }) => Buffer.from(each).toString('latin1'))).toEqual([
      ...['l', 'plain'],
      name.subarray(2).toString('latin1'),
    ])
    expect(node[0]!.node).toMatchObject({ kind: 'symlink', target: Buffer.from([0x80, 0x2f]) })
    expect(node[2]!.node).toMatchObject({ kind: 'file', size: 8n })
  })

  test('have sizes of more than eight gigabytes in base 256', async () => {
    const size = Buffer.alloc(12)
    size[0] = 0x80
    size.writeUInt32BE(8, 8)
    const { node } = await lookedUp([{ ...file('a/f'), size }])
    expect(node[0]!.node).toMatchObject({ kind: 'file', size: 8n })
  })

  test('of V7, ustar and contiguous files', async () => {
    const v7 = Buffer.from(tarEntry({ path: 'a/d/', type: '\0' }))
    v7.fill(0, 257, 265)
    const ustar = Buffer.from(tarEntry(file('f')))
    ustar.write('ustar\x0000a/p', 257, 'latin1')
    ustar.fill(0, 265, 345).write('a/p', 345)
    const tar = Buffer.concat([
      withChecksum(v7),
      ...[withChecksum(ustar.subarray(0, 512)), ustar.subarray(512)],
      tarOf({ ...file('a/c'), type: '7' }),
    ])
    const store = new MemoryStore()
    const contents = await store.file('contents')
    expect(await ingest(tar)).toEqual(
      await store.directory({
        ...{ d: await store.directory({}), c: contents },
        p: await store.directory({ f: contents }),
      }),
    )
  })

  async function lookedUp(entries: readonly TarEntry[]) {
    const target = services()
    const root = await ingest(tarOf(...entries), target)
    return { node: (await target.directories.get(root.digest))!.entries }
  }
})

describe('what is refused', () => {
  const tree = tarOf(file('a/f'))
  const bare = (change: (header: Buffer) => void) => {
    const header = Buffer.from(tarEntry(folder('a')))
    change(header)
    return Buffer.concat([withChecksum(header), TAR_END])
  }
  const sparse = (map: string, contents = '') =>
    tarOf({
      ...file('a/s', contents),
      pax: [
        ['GNU.sparse.size', '100'],
        ['GNU.sparse.map', map],
      ],
    })

  test.each<[string, Uint8Array, RegExp]>([
    ['nothing at all', new Uint8Array(0), /ends early, after 0 bytes/],
    ['text', Buffer.alloc(1024, 'text '), /not a valid tar archive: at byte 0: no header/],
    ['a header that is cut', tree.subarray(0, 300), /ends early, after 300 bytes/],
    ['contents that are cut', tree.subarray(0, 515), /ends early, after 515 bytes/],
    ['an end between entries without its mark', tree.subarray(0, 1024), /ends early, after 1024 bytes/],
    ['a flipped bit', Buffer.from(tree).fill('b', 0, 1), /at byte 0: .*checksum/],
    ['entries after a lone block of zeros', Buffer.concat([Buffer.alloc(512), tree]), /lone block of zeros/],
    [
      'a size that is no number',
      bare((header) => header.write('99x', 124)),
      /at byte 0: .*numbers are wrong/,
    ],
    ['a negative size', bare((header) => header.fill(0xff, 124, 136)), /numbers are wrong/],
    ['a size beyond 2^53', bare((header) => header.fill(0x90, 124, 136)), /numbers are wrong/],
    ['an absolute path', tarOf(file('/a/f')), /unable to convert path "\/a\/f": it is absolute/],
    ['a path that leads out', tarOf(file('a/../../f')), /path "a\/..\/..\/f": it leads out of the archive/],
    ['a name that is too long', tarOf(file(`a/${'x'.repeat(256)}`)), /cannot be over 255 bytes long/],
    ['a NUL in a name', tarOf({ ...file('a'), pax: [['path', 'a/\0']] }), /cannot contain null bytes/],
    ['a path that is too deep', tarOf(file('a/'.repeat(TREE_DEPTH_MAX + 1))), /more than 256 nested/],
    ['a file at the very top', tarOf(file('./.')), /an entry that is no directory has an empty path/],
    ['a symlink without a target', tarOf({ path: 'a/l', type: '2' }), /symlink missing target: "a\/l"/],
    ['a symlink that is too long', tarOf({ path: 'a/l', type: '2', link: 'x'.repeat(4096) }), /"a\/l".*4095/],
    ['a device', tarOf({ path: 'a/dev', type: '4' }), /unsupported tar entry "a\/dev" type: block device/],
    [
      'a type that is unknown',
      tarOf({ path: 'a/?', type: '\x1b' }),
      /unsupported tar entry "a\/\?" type: \\x1b/,
    ],
    [
      'a hard link to nothing',
      tarOf(link('a/l', 'a/f'), file('a/f')),
      /"a\/l" type: hard link to "a\/f", which does not/,
    ],
    ['a hard link to a directory', tarOf(folder('a/d'), link('a/l', 'a/d')), /which is a directory/],
    [
      'records that are none',
      tarOf({ path: 'x', type: 'x', contents: utf8('9999 a=b\n') }),
      /no list of records/,
    ],
    [
      'a record without a value',
      tarOf({ path: 'x', type: 'x', contents: utf8('5 ab\n') }),
      /without a value/,
    ],
    ['a size in words', tarOf({ ...file('a/f'), pax: [['size', 'ten']] }), /a size .* no number/],
    ['a sparse map out of order', sparse('50,1,10,1', 'ab'), /"a\/s" has a map .* not in order/],
    ['a sparse map beyond the end', sparse('90,11', 'x'.repeat(11)), /goes beyond its end/],
    ['a sparse map of other contents', sparse('10,2', 'abc'), /of 2 bytes, where 3 are stored/],
    ['a sparse map of half a region', sparse('10,2,20', 'ab'), /an offset and no length/],
    ['a sparse map of words', sparse('10,two', 'ab'), /no list of numbers/],
  ])('%s', async (_, tar, message) => {
    const target = watched()
    const error = await ingest(tar, target).catch((e) => e)
    expect(error).toBeInstanceOf(StoreError)
    expect(error.message).toMatch(message)
    expect(['invalid-argument', 'exhausted']).toContain(error.code)
    expect(target.putters).toBe(0)
  })

  test('an extended header that is too large, before it is read', async () => {
    const [header] = [tarEntry({ path: 'x', type: 'x', size: TAR_EXTENSION_BYTES_MAX + 1 })]
    await expect(ingest(header)).rejects.toMatchObject({ code: 'exhausted' })
  })

  test('more entries than memory is for', async () => {
    const target = 'x'.repeat(4000)
    const one = Buffer.concat([tarEntry({ path: 'a/l', type: '2', link: target })])
    const count = Math.ceil(TAR_ENTRIES_BYTES_MAX / 4200)
    async function* endless() {
      for (let i = 0; i < count + 10_000; i++) yield one
    }
    const ingested = ingestTar(services(), endless(), { sizeFormula: 'rust' })
    await expect(ingested).rejects.toMatchObject({ code: 'exhausted' })
  })

  test('a store that fails: its error is told, and no directory is put', async () => {
    const target = watched()
    const failing: BlobService = {
      has: async () => false,
      chunks: async () => undefined,
      openRead: async () => undefined,
      openWrite() {
        throw new StoreError('unavailable', 'the test makes this call fail')
      },
    }
    await expect(ingest(tarOf(file('a/f')), { ...target, blobs: failing })).rejects.toMatchObject({
      message: 'the test makes this call fail',
    })
    expect(target.putters).toBe(0)
  })

  test('to go on after it was called off, in the middle of a hole of a petabyte', async () => {
    const controller = new AbortController()
    const tar = tarOf({
      ...file('a/s', ''),
      pax: [
        ['GNU.sparse.size', `${2 ** 50}`],
        ['GNU.sparse.map', '0,0'],
      ],
    })
    const ingested = ingestTar(services(), inPieces(tar), { sizeFormula: 'rust', signal: controller.signal })
    setImmediate(() => controller.abort(new StoreError('cancelled', 'called off')))
    await expect(ingested).rejects.toMatchObject({ message: 'called off' })
  })
})

/** Counts uploads of directories. */
function watched(): Services & { putters: number } {
  const { blobs, directories } = services()
  const target = {
    blobs,
    putters: 0,
    directories: {
      get: (digest, call) => directories.get(digest, call),
      getRecursive: (digest, call) => directories.getRecursive(digest, call),
      put: (directory, call) => directories.put(directory, call),
      startPutter(call) {
        target.putters++
        return directories.startPutter(call)
      },
    } as DirectoryService,
  }
  return target
}
