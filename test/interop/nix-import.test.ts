/**
 * `tvix-store import` against the real Nix: the same store path as `nix-store --add`, and in our path info the NAR
 * hash and size that `nix path-info` shows.
 */
import { chmod, mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, remoteStoreFlags, runOk, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { FULL, HAS_NIX } from '../support/requirements.ts'

interface Source {
  readonly title: string
  /** Makes the tree in a folder and returns its path. */
  readonly make: (folder: string) => Promise<string>
  readonly large?: boolean
}

const SOURCES: Source[] = [
  { title: '/usr/share/perl5', make: async () => '/usr/share/perl5' },
  {
    title: 'a file',
    make: async (folder) => {
      const path = join(folder, 'plain-file')
      await writeFile(path, 'some contents\n', { mode: 0o644 })
      return path
    },
  },
  {
    title: 'an empty file',
    make: async (folder) => {
      const path = join(folder, 'empty-file')
      await writeFile(path, '')
      return path
    },
  },
  {
    title: 'an executable',
    make: async (folder) => {
      const path = join(folder, 'executable')
      await writeFile(path, '#!/bin/sh\necho hello\n')
      await chmod(path, 0o755)
      return path
    },
  },
  {
    title: 'a dangling symlink',
    make: async (folder) => {
      const path = join(folder, 'dangling')
      await symlink('/nowhere/../at all', path)
      return path
    },
  },
  {
    title: 'an empty directory',
    make: async (folder) => {
      const path = join(folder, 'empty-directory')
      await mkdir(path)
      return path
    },
  },
  {
    title: 'a tree with names that are not UTF-8',
    make: async (folder) => {
      const path = join(folder, 'bytes')
      await mkdir(path)
      const inside = (name: Buffer) => Buffer.concat([Buffer.from(`${path}/`), name])
      await writeFile(inside(Buffer.from([0xff, 0xfe, 0x41])), 'latin')
      await writeFile(inside(Buffer.from([0x01, 0x0a, 0x7f])), 'control')
      await mkdir(inside(Buffer.from([0xc3, 0x28])))
      await symlink(Buffer.from([0xff, 0x2f, 0xfe]), inside(Buffer.from([0x80])))
      return path
    },
  },
  {
    title: '10,000 files in one directory',
    make: async (folder) => {
      const path = join(folder, 'wide')
      await mkdir(path)
      for (let i = 0; i < 10_000; i++) await writeFile(join(path, `file-${i}`), `contents ${i % 5000}`)
      return path
    },
  },
  {
    title: 'a file of 20 MiB that chunks differently from its neighbours',
    make: async (folder) => {
      const path = join(folder, 'chunks')
      const file = await open(path, 'w')
      for (let i = 0; i < 20; i++)
        await file.write(Buffer.alloc(1024 * 1024, i * 7 + 1).map((b, j) => b ^ (j * i)))
      await file.close()
      return path
    },
  },
  {
    title: 'a sparse file of 5 GiB',
    large: true,
    make: async (folder) => {
      const path = join(folder, 'sparse')
      const file = await open(path, 'w')
      await file.write('begin')
      await file.write('middle', 3 * 2 ** 30 + 17)
      await file.truncate(5 * 2 ** 30)
      await file.close()
      return path
    },
  },
]

describe.skipIf(!HAS_NIX)('import gives the store path of nix-store --add', { timeout: 280_000 }, () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-nix-'))
  })
  afterAll(async () => {
    // Nix leaves its store read-only.
    await runOk('chmod', ['-R', 'u+w', folder])
    await rm(folder, { recursive: true, force: true })
  })

  for (const { title, make, large } of SOURCES)
    test.skipIf(large && !FULL)(title, async () => {
      const path = await make(folder)
      const expected = await addWithNix(folder, path)
      const flags = localStoreFlags(join(folder, 'store'))
      const printed = JSON.parse(await runOk(TVIX_STORE, ['import', '--json', ...flags, path]))
      expect(printed).toMatchObject({
        storePath: expected.path,
        narHash: expected.narHash,
        narSize: expected.narSize,
      })
    })

  test('through a daemon, several paths, one line each', async () => {
    const paths = [await SOURCES[1]!.make(folder), await SOURCES[3]!.make(folder)]
    const expected = await Promise.all(paths.map((path) => addWithNix(folder, path)))
    const state = join(folder, 'daemon')
    await mkdir(state)
    await using daemon = await startDaemon(state)
    const printed = await runOk(TVIX_STORE, ['import', ...remoteStoreFlags(daemon.address), ...paths])
    expect(printed.trim().split('\n').sort()).toEqual(expected.map(({ path }) => path).sort())
  })
})

/** Adds `path` to a Nix store of the test's own below `folder`, with real Nix, and asks Nix about it. */
async function addWithNix(
  folder: string,
  path: string,
): Promise<{ path: string; narHash: string; narSize: number }> {
  const store = ['--store', `local?root=${join(folder, 'nix')}`]
  const storePath = (await runOk('nix-store', [...store, '--add', path])).trim()
  const info = await runOk('nix', [
    '--extra-experimental-features',
    'nix-command',
    'path-info',
    ...store,
    '--json',
    storePath,
  ])
  return JSON.parse(info)[0]
}
