import { beforeEach, describe, expect, test } from 'vitest'
import { Directory } from '../../../src/model/castore/directory.ts'
import type { Node } from '../../../src/model/castore/node.ts'
import { StorePath as Path, type StorePath } from '../../../src/model/nix/store-path.ts'
import { utf8, view } from '../../../src/support/bytes.ts'
import { openPath } from '../../../src/transfer/open-path.ts'
import { directoryNode, entry, symlinkNode } from '../../support/directories.ts'
import { MemoryStore, storePathOf } from '../../support/memory-store.ts'

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
