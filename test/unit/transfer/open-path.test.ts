import { beforeEach, describe, expect, test } from 'vitest'
import { Digest } from '../../../src/model/castore/digest.ts'
import { Directory } from '../../../src/model/castore/directory.ts'
import type { Node } from '../../../src/model/castore/node.ts'
import { StorePath as Path, type StorePath } from '../../../src/model/nix/store-path.ts'
import { utf8, view } from '../../../src/support/bytes.ts'
import { openPath } from '../../../src/transfer/open-path.ts'
import { directoryNode, entry, symlinkNode, vectorDirectory } from '../../support/directories.ts'
import { MemoryStore, storePathOf } from '../../support/memory-store.ts'
import { vectors } from '../../support/vectors.ts'

let store: MemoryStore
let app: StorePath
let library: StorePath

beforeEach(async () => {
  store = new MemoryStore()
  library = (await store.path('library', await store.directory({ so: await store.file('so') }))).storePath
  const bytes = Directory.from([entry(Uint8Array.of(0xff, 0xfe), await store.file('bytes'))])
  await store.directories.put(bytes)
  const tree = await store.directory({
    bin: await store.directory({ tool: await store.file('tool', true), up: symlinkNode('../etc/./conf') }),
    bytes: directoryNode(bytes),
    etc: await store.directory({ conf: await store.file('conf') }),
    'to-bin': symlinkNode('bin/'),
    chain: symlinkNode('to-bin/up'),
    lib: symlinkNode(`${library.absolutePath}/so`),
    sibling: symlinkNode(`../${library}/so`),
    loop: symlinkNode('./loop'),
    out: symlinkNode('/etc/passwd'),
    above: symlinkNode('../../x'),
    folder: symlinkNode('..'),
    gone: symlinkNode('nowhere/at/all'),
    absent: symlinkNode(storePathOf('absent').absolutePath),
    nonsense: symlinkNode('../nonsense'),
  })
  app = (await store.path('app', tree)).storePath
})

const open = (inner: string | Uint8Array, keepLast = false) =>
  openPath(store, app, typeof inner === 'string' ? utf8(inner) : inner, { keepLast })

async function contents(node: Node): Promise<string> {
  if (node.kind !== 'file') return node.kind
  const pieces: Uint8Array[] = []
  for await (const piece of (await store.blobs.openRead(node.digest))!) pieces.push(piece)
  return view(Buffer.concat(pieces)).toString()
}

describe('found', () => {
  test.each([
    ['', 'directory', ''],
    ['bin', 'directory', '/bin'],
    ['bin/tool', 'tool', '/bin/tool'],
    ['//bin/./tool/', 'tool', '/bin/tool'],
    ['bin/../etc/conf', 'conf', '/etc/conf'],
    ['bin/up', 'conf', '/etc/conf'],
    ['to-bin/tool', 'tool', '/bin/tool'],
    ['chain', 'conf', '/etc/conf'],
  ])('"%s"', async (inner, expected, path) => {
    const opened = await open(inner)
    expect(await contents(opened.node)).toBe(expected)
    expect(opened.path).toBe(app.absolutePath + path)
  })

  test.each(['lib', 'sibling'])('in another store path, by %s', async (inner) => {
    const opened = await open(inner)
    expect(await contents(opened.node)).toBe('so')
    expect(opened.path).toBe(`${library.absolutePath}/so`)
  })

  test('names that are not UTF-8', async () => {
    expect(await contents((await open(Buffer.from([...utf8('bytes/'), 0xff, 0xfe]))).node)).toBe('bytes')
  })

  test('the last symlink itself, when asked for', async () => {
    expect((await open('bin/up', true)).node.kind).toBe('symlink')
    expect((await open('to-bin/up', true)).path).toBe(`${app.absolutePath}/bin/up`)
  })
})

describe('missing, and why', () => {
  test.each([
    ['nothing', /^there is no "nothing" in \/nix\/store\/.*-app$/],
    ['bin/nothing/more', /^there is no "nothing" in \/nix\/store\/.*-app\/bin$/],
    ['bin/tool/more', /-app\/bin\/tool is a file and no directory$/],
    ['gone', /no "nowhere" in .*-app, following the symlink .*-app\/gone to nowhere\/at\/all$/],
    ['loop', /more than 40 symlinks/],
    ['out', /^\/etc\/passwd is not in \/nix\/store, following the symlink .*-app\/out/],
    ['above', /leads out of \/nix\/store/],
    ['folder', /\/nix\/store itself is no part/],
    ['absent', /-absent is not in a store in memory, following the symlink .*-app\/absent/],
    ['nonsense', /"nonsense".*following the symlink/],
    ['x\x1b[31m', /there is no "x\\x1b\[31m" in/],
  ])('%s', async (inner, message) => {
    await expect(open(inner)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringMatching(message),
    })
  })

  test('the store path itself, and one of the same hash', async () => {
    await expect(openPath(store, storePathOf('absent'), utf8('x'))).rejects.toMatchObject({
      code: 'not-found',
      message: `${storePathOf('absent').absolutePath} is not in a store in memory`,
    })
    await expect(openPath(store, Path.fromParts(app.digest, 'appx'), utf8(''))).rejects.toThrow(
      `with that hash there is ${app.absolutePath}`,
    )
  })
})

describe('the vectors of descend_to', () => {
  const below = async (inner: string) => {
    const node = await vectorTree()
    const { storePath } = await store.path('vectors', node)
    return await openPath(store, storePath, utf8(inner), { keepLast: true })
  }

  async function vectorTree(): Promise<Node> {
    await store.file('')
    const [complicated] = await Promise.all(
      ['DIRECTORY_COMPLICATED', 'DIRECTORY_WITH_KEEP'].map(async (name) => {
        const directory = vectorDirectory(name)
        await store.directories.put(directory)
        return directoryNode(directory)
      }),
    )
    return complicated!
  }

  test.each([
    ['', 'directory', '424a7f6ce08d805d15b428062faae96299a1675d708c3a39261afe38cdd04feb'],
    ['keep', 'directory', vectorDirectory('DIRECTORY_WITH_KEEP').digest.hex],
    ['keep/.keep', 'file', Digest.of(new Uint8Array()).hex],
  ])('"%s" is found', async (inner, kind, digest) => {
    expect((vectors.descend_to.cases as { path: string }[]).map(({ path }) => path)).toContain(inner)
    const { node } = await below(inner)
    expect(node).toMatchObject({ kind, digest: { hex: digest } })
  })

  test.each(
    (vectors.descend_to.cases as { path: string; result: string | null }[]).filter(
      ({ result }) => result === null,
    ),
  )('"$path" is not there, which is no failure of the store', async ({ path }) => {
    await expect(below(path)).rejects.toMatchObject({ code: 'not-found' })
  })
})
