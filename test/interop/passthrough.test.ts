/** Files that the kernel reads by itself out of the cache folder. */
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Daemon,
  importedName,
  remoteStoreFlags,
  runOk,
  startDaemon,
  TVIX_STORE,
} from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()
const LARGE_BYTES = 5_000_000

/** Reads a file in three ways, mapped among them; prints how often it was not what it is to be. */
const READ = `
import mmap, os, sys
path, wanted = sys.argv[1], open(sys.argv[2], 'rb').read()
wrong = 0
with open(path, 'rb') as file:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped: wrong += mapped[:] != wanted
    wrong += os.pread(file.fileno(), 100, len(wanted) - 50) != wanted[-50:]
    with open(path, 'rb') as again: wrong += again.read() != wanted
print(wrong)
`

/** Opens, reads a part and closes, in eight processes at once. */
const HAMMER = `
import os, sys
path, wanted = sys.argv[1], open(sys.argv[2], 'rb').read()
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        for i in range(60):
            offset = (child * 977 + i * 131071) % (len(wanted) - 5000)
            with open(path, 'rb') as file:
                if os.pread(file.fileno(), 5000, offset) != wanted[offset:offset + 5000]: os._exit(1)
        os._exit(0)
    children.append(pid)
print(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
`

describe.skipIf(reason)(reason ? `passthrough (skipped: ${reason})` : 'passthrough', () => {
  let folder: string
  let namespace: MountNamespace
  let daemon: Daemon
  let path: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-passthrough-'))
    mkdirSync(join(folder, 'source'))
    writeFileSync(join(folder, 'source/large'), randomBytes(LARGE_BYTES))
    writeFileSync(join(folder, 'source/small'), 'small\n')
    copyFileSync('/bin/ls', join(folder, 'source/program'))
    daemon = await startDaemon(folder)
    namespace = await MountNamespace.create()
    const flags = remoteStoreFlags(daemon.address)
    path = await importedName(flags, join(folder, 'source'))
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await daemon?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function start(name: string, cache: string): Promise<StoreMount> {
    const flags = ['--passthrough', '--cache-dir', join(folder, cache), ...remoteStoreFlags(daemon.address)]
    return await StoreMount.start(namespace, await namespace.directory(name), flags)
  }

  const reads = async (mount: StoreMount) => (await mount.stats()).kernel.requests['READ'] ?? 0
  const source = (name: string) => join(folder, 'source', name)

  async function read(mount: StoreMount, name: string, script = READ): Promise<string> {
    const { stdout, stderr } = await namespace.run(
      'python3',
      '-c',
      script,
      join(mount.target, path, name),
      source(name),
    )
    return stdout.trim() + stderr
  }

  test('a file is read here while it is fetched, and by the kernel when it is whole', async () => {
    await using first = await start('first', 'cache')
    expect(await read(first, 'large')).toBe('0')
    expect(await reads(first)).toBeGreaterThan(0)
    expect(await first.stop()).toBe(0)

    await using second = await start('second', 'cache')
    expect(await read(second, 'large')).toBe('0')
    expect(await reads(second)).toBe(0)
    const { chunks, localFiles } = (await second.stats()).store
    expect(chunks.fetched).toBe(0)
    // Passed through, and not even hashed: that was done when it became whole.
    expect(localFiles).toMatchObject({ asked: 1, cached: 1, fetched: 0 })
    expect(await second.stop()).toBe(0)
  })

  test('out of a store of raw files everything is read by the kernel, the first time, too', async () => {
    const flags = [
      `--blob-service-addr=files://${folder}/raw`,
      `--directory-service-addr=lmdb://${folder}/raw-directories.lmdb`,
      `--path-info-service-addr=lmdb://${folder}/raw-pathinfo.lmdb`,
    ]
    const imported = await runOk(TVIX_STORE, ['import', ...flags, join(folder, 'source')])
    expect(basename(imported.trim())).toBe(path)
    const target = await namespace.directory('raw-files')
    await using mount = await StoreMount.start(namespace, target, ['--passthrough', ...flags])
    for (const name of ['large', 'program']) expect(await read(mount, name)).toBe('0')
    expect(await reads(mount)).toBe(0)
    // The program is so small that hashing it costs nothing.
    expect((await mount.stats()).store.localFiles).toMatchObject({ cached: 1, fetched: 1 })
    const { status } = await namespace.run(join(target, path, 'program'), '/')
    expect(status).toBe(0)
    expect(await mount.stop()).toBe(0)
  })

  test('programs run out of it', async () => {
    await using mount = await start('program', 'cache')
    for (let i = 0; i < 3; i++) {
      const { status, stdout } = await namespace.run(
        join(mount.target, path, 'program'),
        join(mount.target, path),
      )
      expect({ status, stdout }).toEqual({ status: 0, stdout: 'large\nprogram\nsmall\n' })
    }
  })

  test('opening a file while it becomes whole is never an error (fs/fuse/iomode.c)', async () => {
    await using mount = await start('hammer', 'empty-cache')
    for (let round = 0; round < 3; round++) expect(await read(mount, 'large', HAMMER)).toBe('0')
    expect(await mount.stop()).toBe(0)
  })
})
