import { describe, expect, test } from 'vitest'
import { StorePath } from '../../../../../src/model/nix/store-path.ts'
import { locate, resolveSymlink } from '../../../../../src/servers/http/pages/place.ts'
import { memoryDirectoryService } from '../../../../../src/services/directories/memory.ts'
import { utf8, view } from '../../../../../src/support/bytes.ts'
import { directoryNode, fileNode, leaf, makeDirectory, symlinkNode } from '../../../../support/directories.ts'

const HERE = '00bgd045z0d4icpbc2yyz4gx48ak44la-hello'
const OTHER = '11bgd045z0d4icpbc2yyz4gx48ak44la-glibc'
const inner = (path: string) => path.split('/').filter(Boolean).map(utf8)
const place = (path: string) => ({ storePath: StorePath.parse(HERE), inner: inner(path) })

describe('where a symlink leads', () => {
  test.each([
    ['bin/hi', 'hello', `${HERE}/bin/hello`],
    ['bin/hi', './hello', `${HERE}/bin/hello`],
    ['bin/hi', '../share//doc/', `${HERE}/share/doc`],
    ['bin/hi', '..', HERE],
    ['hi', `../${OTHER}/lib`, `${OTHER}/lib`],
    ['', `${OTHER}/lib`, `${OTHER}/lib`],
    ['bin/hi', `/nix/store/${OTHER}`, OTHER],
    ['bin/hi', `//nix/./store/${OTHER}/lib/`, `${OTHER}/lib`],
  ])('%s → %s is %s', (from, target, expected) => {
    const to = resolveSymlink(place(from), utf8(target))!
    expect([to.storePath.toString(), ...to.inner.map((name) => view(name).toString())].join('/')).toBe(
      expected,
    )
  })

  test.each([
    ['bin/hi', '/etc/hosts'],
    ['bin/hi', '/nix/store'],
    ['bin/hi', '/nix/store/not-a-store-path'],
    ['bin/hi', '/nix/storefront/x'],
    ['bin/hi', '../..'],
    ['bin/hi', '../../../../..'],
    ['bin/hi', '../lib/../share'],
    ['bin/hi', `/nix/store/${OTHER}/../x`],
    ['', '..'],
  ])('%s → %s is nowhere that we could know', (from, target) =>
    expect(resolveSymlink(place(from), utf8(target))).toBeUndefined(),
  )
})

describe('walking down', () => {
  const sub = leaf('file')
  const root = makeDirectory({ sub: directoryNode(sub), link: symlinkNode('sub'), top: fileNode('top') })

  async function find(path: string) {
    const directories = memoryDirectoryService()
    await directories.put(sub)
    await directories.put(root)
    return locate(directories, directoryNode(root), inner(path))
  }

  test('finds nodes', async () => {
    expect(await find('')).toEqual({ node: directoryNode(root), depth: 0 })
    expect(await find('sub/file')).toEqual({ node: fileNode('file'), depth: 2 })
    expect(await find('link')).toEqual({ node: symlinkNode('sub'), depth: 1 })
  })

  test('stops at a symlink in the way', async () =>
    expect(await find('link/file')).toEqual({ node: symlinkNode('sub'), depth: 1 }))

  test.each(['nope', 'sub/nope', 'top/below', 'd/'.repeat(300)])('%s is not there', async (path) =>
    expect(await find(path)).toBeUndefined(),
  )

  test('a directory that is missing is no absence', async () =>
    await expect(locate(memoryDirectoryService(), directoryNode(root), inner('sub'))).rejects.toMatchObject({
      code: 'corrupt',
    }))
})
