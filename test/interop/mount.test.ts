/**
 * The whole way: a tree on disk, `tvix-store import`, `tvix-store mount` over a store of its own or over a daemon, and
 * programs that know nothing of it.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Daemon,
  importedName,
  localStoreFlags,
  remoteStoreFlags,
  startDaemon,
  until,
} from '../support/cli.ts'
import { loseBlob, loseDirectory } from '../support/lost.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeProgramTree, makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()
const title = reason ? `a mounted store (skipped: ${reason})` : 'a mounted store'

const ABSENT_PATH = `${'0'.repeat(32)}-absent`

describe.skipIf(reason).each(['in the process itself', 'behind a daemon'])(`${title}, %s`, (where) => {
  let folder: string
  let source: string
  let namespace: MountNamespace
  let daemon: Daemon | undefined
  let flags: string[]
  let mount: StoreMount
  let mounted: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-e2e-'))
    source = join(folder, 'source')
    makeSourceTree(source)
    daemon = where === 'behind a daemon' ? await startDaemon(folder) : undefined
    flags = daemon ? remoteStoreFlags(daemon.address) : localStoreFlags(folder)
    namespace = await MountNamespace.create()
    mount = await StoreMount.start(namespace, await namespace.directory('store'), ['--list-root', ...flags])
    mounted = join(mount.target, await importTree(source))
  })

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]()
    await namespace?.[Symbol.asyncDispose]()
    await daemon?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function importTree(path: string): Promise<string> {
    return await importedName(flags, path)
  }

  test('equals its source, byte for byte, also the second time', async () => {
    for (let i = 0; i < 2; i++) {
      const { status, stdout, stderr } = await namespace.run(
        'diff',
        '-r',
        '--no-dereference',
        source,
        mounted,
      )
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
    }
  })

  test('has the modes, owners and times of a Nix store', async () => {
    const script = `
import json, os, stat, sys
root = os.fsencode(sys.argv[1])
out = []
for folder, folders, files in os.walk(root):
    for name in folders + files:
        st = os.lstat(os.path.join(folder, name))
        out.append([stat.S_IFMT(st.st_mode), st.st_mode & 0o7777, st.st_uid, st.st_gid, int(st.st_mtime)])
print(json.dumps(sorted(set(map(tuple, out)))))`
    expect(await namespace.python(script, mounted)).toEqual([
      [0o040000, 0o555, 0, 0, 1],
      [0o100000, 0o444, 0, 0, 1],
      [0o100000, 0o555, 0, 0, 1],
      [0o120000, 0o444, 0, 0, 1],
    ])
  })

  test('reaches names that are not UTF-8', async () => {
    const script = `
import json, os, sys
root = os.fsencode(sys.argv[1])
print(json.dumps(open(os.path.join(root, b'\\xff\\nA'), 'rb').read().decode() + '|' + os.readlink(os.path.join(root, b'link-of-bytes')).hex()))`
    expect(await namespace.python(script, mounted)).toBe('name of bytes|ff2f80')
  })

  test('executes a script, and a program with the libraries beside it', async () => {
    expect((await namespace.run(join(mounted, 'script'), 'yes')).stdout).toBe('from a script: yes\n')
    const program = join(folder, 'program')
    makeProgramTree(program)
    const path = join(mount.target, await importTree(program))
    const loader = join(path, 'lib/ld-linux-x86-64.so.2')
    const { status, stdout } = await namespace.run(
      loader,
      '--library-path',
      join(path, 'lib'),
      join(path, 'bin/ls'),
      path,
    )
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'bin\nlib\n' })
    expect((await namespace.run(join(path, 'bin/ls'), path)).stdout).toBe('bin\nlib\n')
  })

  test('maps files into memory', async () => {
    const script = `
import hashlib, json, mmap, sys
def mapped(path):
    with open(path, 'rb') as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        return [hashlib.sha256(m).hexdigest(), m[3_000_000:3_000_016].hex()]
print(json.dumps(mapped(sys.argv[1]) == mapped(sys.argv[2])))`
    expect(await namespace.python(script, join(source, 'large'), join(mounted, 'large'))).toBe(true)
  })

  test('tells digests as extended attributes', async () => {
    const script = `
import json, os, sys
print(json.dumps([os.listxattr(sys.argv[1]), os.getxattr(sys.argv[1], 'user.tvix.castore.blob.digest').decode()]))`
    expect(await namespace.python(script, join(mounted, 'empty-file'))).toEqual([
      ['user.tvix.castore.blob.digest'],
      'b3:rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=',
    ])
  })

  test('keeps two directories with the same contents apart', async () => {
    const [one, two] = [join(folder, 'one'), join(folder, 'two')]
    for (const path of [one, two]) {
      mkdirSync(join(path, 'sub'), { recursive: true })
      writeFileSync(join(path, 'sub/file'), 'same')
    }
    const [first, second] = [await importTree(one), await importTree(two)]
    const script = `
import json, os, sys
one, two = sys.argv[1:]
os.chdir(one + '/sub')
before = os.getcwd()
os.listdir(two); os.listdir(two + '/sub'); open(two + '/sub/file').read()
print(json.dumps([before == os.getcwd() == one + '/sub', os.stat(one + '/sub').st_ino != os.stat(two + '/sub').st_ino,
                  os.stat(one + '/sub/file').st_ino == os.stat(two + '/sub/file').st_ino, os.path.realpath('..') == one]))`
    const paths = [join(mount.target, first), join(mount.target, second)]
    expect(await namespace.python(script, ...paths)).toEqual([true, true, true, true])
  })

  test('has only whole store path names at its root', async () => {
    const script = `
import errno, json, os, sys
def stat(name):
    try:
        os.lstat(os.path.join(sys.argv[1], name)); return 'found'
    except OSError as e: return errno.errorcode[e.errno]
name = sys.argv[2]
print(json.dumps([stat(n) for n in [name, name + 'x', name[:33] + 'wrong-name', name[:32], '.hidden', 'x' * 256, sys.argv[3]]]))`
    const errors = await namespace.python(script, mount.target, basename(mounted), ABSENT_PATH)
    expect(errors).toEqual(['found', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENAMETOOLONG', 'ENOENT'])
  })

  test('finds a store path that was absent before, once it is imported', async () => {
    const path = join(folder, 'late')
    await writeFile(path, `late, ${where}`)
    const elsewhere = localStoreFlags(join(folder, 'elsewhere'))
    const name = await importedName(elsewhere, path)
    const target = join(mount.target, name)
    expect((await namespace.run('test', '-e', target)).status).toBe(1)
    await importTree(path)
    await until(async () => (await namespace.run('test', '-e', target)).status === 0, 5_000)
    await until(async () => (await namespace.run('ls', mount.target)).stdout.includes(name), 10_000)
  })

  test('refuses to be changed', async () => {
    const { stderr } = await namespace.run('touch', join(mounted, 'new'))
    expect(stderr).toContain('Read-only file system')
  })
})

describe.skipIf(reason)('a mount over a daemon', () => {
  let folder: string
  let namespace: MountNamespace

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-e2e-'))
    namespace = await MountNamespace.create()
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test('transfers nothing but what is asked for (10,000 files)', async () => {
    const source = join(folder, 'wide')
    for (let d = 0; d < 100; d++) {
      await mkdir(join(source, `d${d}/inner`), { recursive: true })
      for (let f = 0; f < 101; f++)
        await writeFile(join(source, `d${d}/inner/f${f}`), `contents of ${d}/${f}\n`)
    }
    const state = join(folder, 'lazy')
    await mkdir(state)
    await using daemon = await startDaemon(state)
    const flags = remoteStoreFlags(daemon.address)
    const name = await importedName(flags, source)
    await using mount = await StoreMount.start(namespace, await namespace.directory('lazy'), flags)
    const root = join(mount.target, name)

    const file = join(root, 'd42/inner/f17')
    expect((await namespace.run('cat', file)).stdout).toBe('contents of 42/17\n')
    const afterCat = (await mount.stats()).store
    expect(afterCat.rootLookups.fetched).toBe(1)
    // The root, d42, and what is on the way to the file: one by one, or together when that is sooner.
    expect(afterCat.directories.fetched).toBeGreaterThan(0)
    expect(afterCat.directories.fetched).toBeLessThanOrEqual(3)
    expect(afterCat.chunks.fetched).toBe(1)
    expect(afterCat.chunks.fetchedBytes).toBe('contents of 42/17\n'.length)

    await namespace.run('cat', file)
    expect((await mount.stats()).store.chunks).toEqual(afterCat.chunks)

    const { stdout } = await namespace.run('find', root, '-type', 'f', '-size', '-2')
    expect(stdout.trim().split('\n')).toHaveLength(10_100)
    const afterFind = (await mount.stats()).store
    expect(afterFind.chunks).toEqual(afterCat.chunks)
    // All 201 of them, but not one by one.
    expect(afterFind.subtrees.fetched).toBeGreaterThan(0)
    expect(afterFind.directories.fetched + afterFind.subtrees.fetched).toBeLessThan(50)
  }, 120_000)

  test('touching 4 KiB of a large blob moves a chunk or two', async () => {
    const state = join(folder, 'large')
    await mkdir(state)
    const source = join(folder, 'large-file')
    const contents = Buffer.alloc(64 * 1024 * 1024)
    for (let i = 0; i < contents.length; i += 4) contents.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i)
    await writeFile(source, contents)
    await using daemon = await startDaemon(state)
    const flags = remoteStoreFlags(daemon.address)
    const name = await importedName(flags, source)
    await using mount = await StoreMount.start(namespace, await namespace.directory('large'), flags)
    const script = `
import json, os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM)
print(json.dumps(os.pread(f, 4096, 33_333_248).hex()))`
    const read = await namespace.python(script, join(mount.target, name))
    expect(read).toBe(contents.subarray(33_333_248, 33_333_248 + 4096).toString('hex'))
    const { chunks, chunkLists } = (await mount.stats()).store
    expect(chunkLists.fetched).toBe(1)
    expect(chunks.fetched).toBeGreaterThan(0)
    expect(chunks.fetched).toBeLessThanOrEqual(2)
  }, 120_000)

  test('survives its daemon: cached data is there, the rest fails with EIO, and all is well when it is back', async () => {
    const state = join(folder, 'killed')
    await mkdir(state)
    const source = join(folder, 'killed-source')
    await mkdir(join(source, 'sub'), { recursive: true })
    await writeFile(join(source, 'known'), 'known')
    // Too large to come along with its neighbour.
    const unknown = 'unknown'.repeat(1_000_000)
    await writeFile(join(source, 'unknown'), unknown)
    await writeFile(join(source, 'sub/file'), 'file')
    const other = join(folder, 'killed-other')
    await mkdir(other)
    await writeFile(join(other, 'file'), 'other')
    let daemon = await startDaemon(state)
    const flags = remoteStoreFlags(daemon.address)
    const name = await importedName(flags, source)
    const otherName = await importedName(flags, other)
    await using mount = await StoreMount.start(namespace, await namespace.directory('killed'), flags)
    const path = (entry: string) => join(mount.target, name, entry)
    expect((await namespace.run('cat', path('known'))).stdout).toBe('known')

    await daemon.stop('SIGKILL')
    expect((await namespace.run('cat', path('known'))).stdout).toBe('known')
    expect((await namespace.run('stat', path('unknown'))).status).toBe(0)
    for (const args of [
      ['cat', path('unknown')],
      ['ls', join(mount.target, otherName)],
      ['ls', '-d', join(mount.target, ABSENT_PATH)],
    ]) {
      const started = performance.now()
      const { stderr, status } = await namespace.run(args[0]!, ...args.slice(1))
      expect(status, args.join(' ')).not.toBe(0)
      expect(stderr).toContain('Input/output error')
      expect(performance.now() - started).toBeLessThan(61_000)
    }

    daemon = await startDaemon(state)
    await using _ = daemon
    await until(async () => (await namespace.run('cat', path('unknown'))).stdout === unknown, 15_000)
    expect((await namespace.run('cat', path('sub/file'))).stdout).toBe('file')
    expect((await namespace.run('cat', join(mount.target, otherName, 'file'))).stdout).toBe('other')
    expect(mount.log).toContain(daemon.address)
  }, 150_000)
})

describe.skipIf(reason)('a mount that is ended at once, by a second signal', () => {
  test('is not left behind to answer nobody', async () => {
    await using namespace = await MountNamespace.create()
    const target = await namespace.directory('twice')
    const memory = ['blob', 'directory', 'path-info'].map((each) => `--${each}-service-addr=memory:`)
    await using mount = await StoreMount.start(namespace, target, memory)
    const isThere = async () =>
      (await namespace.run('grep', '-c', ` ${target} `, '/proc/self/mountinfo')).stdout
    expect((await isThere()).trim()).toBe('1')
    // Both before it can do anything about the first.
    for (const signal of ['SIGSTOP', 'SIGTERM', 'SIGINT', 'SIGCONT'] as const) mount.kill(signal)
    // Which of them comes second is for the kernel and its threads; on a busy machine the first may have been enough.
    expect([0, 130, 143]).toContain(await mount.ended)
    expect((await isThere()).trim()).toBe('0')
  })
})

describe.skipIf(reason)('a store that lost something', () => {
  test('fails exactly the calls that need it, with one line in the log (spec §5.6)', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tvix-store-e2e-'))
    await using namespace = await MountNamespace.create()
    try {
      const source = join(folder, 'source')
      await mkdir(join(source, 'sub'), { recursive: true })
      await writeFile(join(source, 'file'), 'contents')
      await writeFile(join(source, 'whole'), 'whole')
      await writeFile(join(source, 'sub/inner'), 'inner')
      const flags = [
        `--blob-service-addr=objectstore+file://${folder}/blobs`,
        `--directory-service-addr=lmdb://${folder}/directories.lmdb`,
        `--path-info-service-addr=lmdb://${folder}/pathinfo.lmdb`,
      ]
      const name = await importedName(flags, source)
      await loseBlob(join(folder, 'blobs'), 'contents')
      await loseDirectory(join(folder, 'directories.lmdb'), 'inner')
      await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
      const at = (entry: string) => join(mount.target, name, entry)

      expect((await namespace.run('stat', at('file'))).status).toBe(0)
      expect((await namespace.run('cat', at('file'))).stderr).toContain('Input/output error')
      expect((await namespace.run('cat', at('whole'))).stdout).toBe('whole')
      expect((await namespace.run('stat', at('sub'))).status).toBe(0)
      expect((await namespace.run('ls', at('sub'))).stderr).toContain('Input/output error')
      expect((await namespace.run('cat', at('sub/inner'))).stderr).toContain('Input/output error')
      expect(mount.log).toContain(name)
      expect(mount.log).toContain('b3:')
      expect(mount.log).toContain(`objectstore+file://${folder}/blobs`)
      expect(await mount.stop('SIGTERM')).toBe(0)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
