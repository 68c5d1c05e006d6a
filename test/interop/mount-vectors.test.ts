/** What the other implementations expect of their mounts: the store of the vectors, shown by a mount of ours. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Directory } from '../../src/model/castore/directory.ts'
import type { FileNode, Node } from '../../src/model/castore/node.ts'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { openStores, type Stores } from '../../src/services/composition/open-stores.ts'
import { utf8 } from '../../src/support/bytes.ts'
import { localStoreFlags } from '../support/cli.ts'
import { directoryNode, makeDirectory, symlinkNode, vectorDirectory } from '../support/directories.ts'
import { loseBlob, loseDirectory } from '../support/lost.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { StoreMount } from '../support/store-mount.ts'
import { vectorBlob, vectors } from '../support/vectors.ts'

const { root_names: ROOT_NAMES, xattr: XATTRS } = vectors.fuse
const LOST = 'this file was lost'
const LOST_FILE = `${'7'.repeat(32)}-lost-file`
const LOST_DIRECTORY = `${'8'.repeat(32)}-lost-directory`

const reason = whyNoMounts()
const title = reason ? `the vectors, mounted (skipped: ${reason})` : 'the vectors, mounted'

/** A vector's `00…-test (-> remark)`. */
function basenameOf(name: string): string {
  const [basename] = (ROOT_NAMES[name] as string).split(' ')
  return basename!
}

async function putBlob(stores: Stores, contents: Uint8Array, executable = false): Promise<FileNode> {
  const writer = stores.blobs.openWrite()
  await writer.write(contents)
  return { kind: 'file', digest: await writer.close(), size: BigInt(contents.length), executable }
}

async function putDirectory(stores: Stores, directory: Directory): Promise<Node> {
  await stores.directories.put(directory)
  return directoryNode(directory)
}

async function fillStore(flags: readonly string[]): Promise<void> {
  const [blobs, directories, pathInfos] = flags.map((flag) => flag.slice(flag.indexOf('=') + 1))
  await using stores = await openStores({ blobs: blobs!, directories: directories!, pathInfos: pathInfos! })
  const show = async (basename: string, node: Node) => {
    await stores.pathInfos.put(makePathInfo(basename, { storePath: StorePath.parse(basename), node }))
  }
  const withKeep = await putDirectory(stores, vectorDirectory('DIRECTORY_WITH_KEEP'))
  const complicated = await putDirectory(stores, vectorDirectory('DIRECTORY_COMPLICATED'))
  await putBlob(stores, vectorBlob('EMPTY'))
  await show(basenameOf('BLOB_A'), await putBlob(stores, vectorBlob('BLOB_A')))
  await show(basenameOf('BLOB_B'), await putBlob(stores, vectorBlob('BLOB_B')))
  await show(basenameOf('HELLOWORLD_executable'), await putBlob(stores, vectorBlob('HELLOWORLD'), true))
  await show(basenameOf('SYMLINK'), symlinkNode(basenameOf('BLOB_A')))
  await show(basenameOf('SYMLINK2'), symlinkNode('/nix/store/somewhereelse'))
  await show(basenameOf('DIRECTORY_WITH_KEEP'), withKeep)
  await show(basenameOf('DIRECTORY_COMPLICATED'), complicated)
  await show(LOST_FILE, await putBlob(stores, utf8(LOST)))
  await show(LOST_DIRECTORY, await putDirectory(stores, makeDirectory({ below: withKeep })))
}

describe.skipIf(reason)(title, () => {
  let folder: string
  let namespace: MountNamespace
  let mount: StoreMount
  let flags: string[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-vectors-'))
    flags = localStoreFlags(folder)
    await fillStore(flags)
    await loseBlob(join(folder, 'blobs.object_store'), LOST)
    await loseDirectory(join(folder, 'directories.lmdb'), 'below')
    namespace = await MountNamespace.create()
    mount = await StoreMount.start(namespace, await namespace.directory('store'), ['--list-root', ...flags])
  })

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]()
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** What a line of Python prints as JSON, with `os` and the folder `root`; an OSError is its name. */
  async function python(expression: string, root = mount.target): Promise<unknown> {
    const script = `
import errno, json, os, stat, sys
root = sys.argv[1]
try:
    print(json.dumps(${expression}))
except OSError as error:
    print(json.dumps(errno.errorcode[error.errno]))`
    const { stdout, stderr } = await namespace.run('python3', '-c', script, root)
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout)
  }

  const at = (name: string, ...inner: string[]) =>
    `root + ${JSON.stringify(`/${[ROOT_NAMES[name] ? basenameOf(name) : name, ...inner].join('/')}`)}`

  const MODES: [name: string, type: string, mode: number, size: number][] = [
    ['BLOB_A', 'S_ISREG', 0o444, vectorBlob('BLOB_A').length],
    ['BLOB_B', 'S_ISREG', 0o444, vectorBlob('BLOB_B').length],
    ['HELLOWORLD_executable', 'S_ISREG', 0o555, vectorBlob('HELLOWORLD').length],
    ['SYMLINK', 'S_ISLNK', 0o444, basenameOf('BLOB_A').length],
    ['SYMLINK2', 'S_ISLNK', 0o444, '/nix/store/somewhereelse'.length],
    ['DIRECTORY_WITH_KEEP', 'S_ISDIR', 0o555, 2],
    ['DIRECTORY_COMPLICATED', 'S_ISDIR', 0o555, 8],
  ]

  test.each(MODES)('%s: kind, mode, owner and size', async (name, type, mode, size) => {
    const s = `os.lstat(${at(name)})`
    const shown = await python(
      `[stat.${type}(${s}.st_mode), ${s}.st_mode & 0o777, ${s}.st_uid, ${s}.st_gid, ${s}.st_size]`,
    )
    expect(shown).toEqual([true, mode, 0, 0, size])
  })

  test('the folder lists all of them', async () => {
    const names = Object.keys(ROOT_NAMES).map(basenameOf)
    expect(await python('sorted(os.listdir(root))')).toEqual([...names, LOST_FILE, LOST_DIRECTORY].sort())
  })

  test('symlinks have their targets, contents their bytes', async () => {
    expect(await python(`os.readlink(${at('SYMLINK')})`)).toBe(basenameOf('BLOB_A'))
    expect(await python(`os.readlink(${at('DIRECTORY_COMPLICATED', 'aa')})`)).toBe('/nix/store/somewhereelse')
    for (const [name, through] of [
      ['BLOB_A', 'BLOB_A'],
      ['BLOB_A', 'SYMLINK'],
      ['BLOB_B', 'BLOB_B'],
      ['HELLOWORLD', 'HELLOWORLD_executable'],
    ] as const)
      expect(await python(`open(${at(through)}, 'rb').read().hex()`)).toBe(
        Buffer.from(vectorBlob(name)).toString('hex'),
      )
  })

  test('files and symlinks that are the same have one inode; a directory has one for each place', async () => {
    const inodes = (...paths: string[]) =>
      python(`len(set(os.lstat(path).st_ino for path in [${paths.join(', ')}]))`)
    // The vectors want one for directories, too. Linux allows a directory a single place, and would move it.
    expect(await inodes(at('DIRECTORY_WITH_KEEP'), at('DIRECTORY_COMPLICATED', 'keep'))).toBe(2)
    expect(
      await inodes(at('DIRECTORY_COMPLICATED', '.keep'), at('DIRECTORY_COMPLICATED', 'keep', '.keep')),
    ).toBe(1)
    expect(await inodes(at('SYMLINK2'), at('DIRECTORY_COMPLICATED', 'aa'))).toBe(1)
    expect(await inodes(at('BLOB_A'), at('BLOB_B'))).toBe(2)
  })

  test('nothing can be created', async () => {
    expect(await python(`open(root + '/new', 'w') and 0`)).toBe('EROFS')
    expect(await python(`open(${at('DIRECTORY_WITH_KEEP', 'new')}, 'w') and 0`)).toBe('EROFS')
  })

  test('names that are not there, or that are no names', async () => {
    for (const name of [
      `${'0'.repeat(32)}-other`,
      'nonsense',
      '00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p2017022118210',
    ])
      expect(await python(`os.lstat(${at(name)}) and 0`)).toBe('ENOENT')
  })

  test('a directory that was lost is there, what is in it is not to be read', async () => {
    expect(await python(`stat.S_ISDIR(os.lstat(${at(LOST_DIRECTORY)}).st_mode)`)).toBe(true)
    expect(await python(`os.listdir(${at(LOST_DIRECTORY)})`)).toBe('EIO')
    expect(await python(`os.lstat(${at(LOST_DIRECTORY, 'below')}) and 0`)).toBe('EIO')
  })

  test('a blob that was lost has its size, and cannot be read', async () => {
    expect(await python(`os.lstat(${at(LOST_FILE)}).st_size`)).toBe(LOST.length)
    expect(await python(`open(${at(LOST_FILE)}, 'rb').read().hex()`)).toBe('EIO')
  })

  test.each([
    ['directory', 'DIRECTORY_WITH_KEEP', 'value_for_WITH_KEEP'],
    ['blob', 'BLOB_A', 'value_for_BLOB_A'],
  ])('the extended attribute of a %s', async (kind, name, value) => {
    const { tvix } = XATTRS
    expect(await python(`os.listxattr(${at(name)})`)).toEqual([tvix[kind]])
    expect(await python(`os.getxattr(${at(name)}, ${JSON.stringify(tvix[kind])}).decode()`)).toBe(tvix[value])
    expect(await python(`os.getxattr(${at(name)}, 'user.other').decode()`)).toBe('ENODATA')
  })

  test('without --list-root the folder is not listed, and everything in it is there', async () => {
    await using unlisted = await StoreMount.start(namespace, await namespace.directory('unlisted'), flags)
    expect(await python('os.listdir(root)', unlisted.target)).toMatch(/^E(ACCES|PERM)$/)
    expect(await python(`os.lstat(${at('BLOB_A')}).st_size`, unlisted.target)).toBe(
      vectorBlob('BLOB_A').length,
    )
  })
})
