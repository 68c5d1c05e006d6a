/** Living with change: paths that come, go and become others under a mount, and a composition that is read again. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { openLmdbTable } from '../../src/services/lmdb-table.ts'
import { openLmdbPathInfoService } from '../../src/services/pathinfos/lmdb.ts'
import { importedPath, localStoreFlags, runOk, TVIX_STORE } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()

/** Holds a file and a directory of a store path open; for each line that it gets, prints what it reads of them. */
const HOLD = `
import json, os, sys
path = sys.argv[1]
file, folder = os.open(f'{path}/file', os.O_RDONLY), os.open(path, os.O_RDONLY)
print('holding', flush=True)
for line in open(sys.argv[2]):
    with open('other', opener=lambda name, flags: os.open(name, flags, dir_fd=folder)) as other: text = other.read()
    print(json.dumps([os.pread(file, 100, 0).decode(), text, sorted(os.listdir(folder))]), flush=True)
`

/** Listens as a service manager does, and prints a line for each message. */
const MANAGER = `
import socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
print('listening', flush=True)
while True: print(manager.recv(1000).decode().replace('\\n', ' '), flush=True)
`

describe.skipIf(reason)(reason ? `changes (skipped: ${reason})` : 'a mount of a store that changes', () => {
  let folder: string
  let namespace: MountNamespace

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-changes-'))
    namespace = await MountNamespace.create()
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function importTree(name: string, text: string, store = folder): Promise<string> {
    const tree = join(folder, name)
    await runOk('mkdir', ['-p', tree])
    for (const file of ['file', 'other']) writeFileSync(join(tree, file), `${file} ${text}\n`)
    return await importedPath(localStoreFlags(store), tree)
  }

  const digestOf = (path: string) => StorePath.fromAbsolutePath(path).digest

  async function remove(path: string): Promise<void> {
    await using table = await openLmdbTable(join(folder, 'pathinfo.lmdb'), 'pathinfo')
    await table.remove([digestOf(path)])
  }

  const read = async (mount: StoreMount, path: string) => {
    const { stdout, stderr } = await namespace.run('cat', join(mount.target, basename(path), 'file'))
    return stdout || stderr.replace(/^.*: /, '')
  }
  const list = async (mount: StoreMount) =>
    (await namespace.run('ls', mount.target)).stdout.trim().split('\n')

  test('shows new paths soon, and lets removed ones go when it looks', async () => {
    const path = await importTree('first', 'one')
    await using mount = await StoreMount.start(namespace, await namespace.directory('changes'), [
      '-l',
      ...localStoreFlags(folder),
    ])
    expect(await read(mount, path)).toBe('file one\n')
    const second = await importTree('second', 'two')
    await expect.poll(() => read(mount, second), { timeout: 10_000 }).toBe('file two\n')
    await expect.poll(() => list(mount), { timeout: 10_000 }).toContain(basename(second))

    await remove(path)
    mount.kill('SIGHUP')
    await expect.poll(() => read(mount, path), { timeout: 20_000 }).toBe('No such file or directory\n')
    await expect.poll(() => list(mount), { timeout: 10_000 }).toEqual([basename(second)])
    expect(mount.log).toContain('a store path is gone')
    expect(await read(mount, second)).toBe('file two\n')

    await importTree('first', 'one')
    await expect.poll(() => read(mount, path), { timeout: 10_000 }).toBe('file one\n')
    await expect.poll(() => list(mount), { timeout: 10_000 }).toHaveLength(2)
    expect(await mount.stop()).toBe(0)
  })

  test('finds by itself that a path is gone', async () => {
    const path = await importTree('watched', 'w')
    await using mount = await StoreMount.start(
      namespace,
      await namespace.directory('watch'),
      localStoreFlags(folder),
    )
    expect(await read(mount, path)).toBe('file w\n')
    await remove(path)
    await expect.poll(() => read(mount, path), { timeout: 20_000 }).toBe('No such file or directory\n')
  })

  test('shows what a path is now, and what is open reads on as it was', async () => {
    const [path, other] = [await importTree('replaced', 'before'), await importTree('other', 'after')]
    await using mount = await StoreMount.start(
      namespace,
      await namespace.directory('replace'),
      localStoreFlags(folder),
    )
    expect(await read(mount, path)).toBe('file before\n')
    const lines = join(folder, 'lines')
    await runOk('mkfifo', [lines])
    const holder = namespace.spawn('python3', '-c', HOLD, join(mount.target, basename(path)), lines)
    using _ = { [Symbol.dispose]: () => void holder.kill('SIGKILL') }
    const held = createInterface({ input: holder.stdout })[Symbol.asyncIterator]()
    expect((await held.next()).value).toBe('holding')
    {
      await using pathInfos = await openLmdbPathInfoService(join(folder, 'pathinfo.lmdb'))
      const after = (await pathInfos.get(digestOf(other)))!
      await pathInfos.put({ ...(await pathInfos.get(digestOf(path)))!, node: after.node })
    }
    mount.kill('SIGHUP')
    await expect.poll(() => read(mount, path), { timeout: 20_000 }).toBe('file after\n')
    writeFileSync(lines, 'go\n')
    const { value } = await held.next()
    expect(JSON.parse(value as string)).toEqual(['file before\n', 'other before\n', ['file', 'other']])
    expect(await mount.stop()).toBe(0)
  })

  test('takes a store that does not answer for no word about what is gone', async () => {
    const path = await importTree('kept', 'k')
    const composition = join(folder, 'composition.toml')
    writeFileSync(composition, compositionOf(folder))
    await using mount = await StoreMount.start(namespace, await namespace.directory('kept'), [
      `--store-composition=${composition}`,
    ])
    expect(await read(mount, path)).toBe('file k\n')
    writeFileSync(
      composition,
      compositionOf(folder).replace(
        /type = "lmdb", path = "[^"]*pathinfo.lmdb"/,
        'type = "grpc", url = "grpc+unix:///nobody"',
      ),
    )
    mount.kill('SIGHUP')
    await expect.poll(() => mount.log, { timeout: 20_000 }).toMatch(/opened anew|stay what they were/)
    mount.kill('SIGHUP')
    expect(await read(mount, path)).toBe('file k\n')
    expect(mount.log).not.toContain('is gone')
  })

  test('tells the service manager when it reloads, and when it is done', async () => {
    const socket = join(folder, 'notify')
    const manager = spawn('python3', ['-c', MANAGER, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
    using _ = { [Symbol.dispose]: () => void manager.kill('SIGKILL') }
    const told = createInterface({ input: manager.stdout })[Symbol.asyncIterator]()
    const next = async () => (await told.next()).value
    expect(await next()).toBe('listening')
    const command = [TVIX_STORE, 'mount', ...localStoreFlags(folder), await namespace.directory('notify')]
    const script = 'echo $$; exec env NOTIFY_SOCKET="$0" "$@" 2>&1'
    const child = namespace.spawn('sh', '-c', script, socket, ...command)
    const ended = once(child, 'close')
    const pid = Number((await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()).value)
    expect(await next()).toBe('READY=1')
    process.kill(pid, 'SIGHUP')
    expect(await next()).toMatch(/^RELOADING=1 MONOTONIC_USEC=[0-9]+$/)
    expect(await next()).toBe('READY=1')
    process.kill(pid, 'SIGTERM')
    expect(await next()).toBe('STOPPING=1')
    expect(await ended).toEqual([0, null])
  })

  test('turns to another composition, and stays with the old one when that is wrong', async () => {
    const elsewhere = join(folder, 'elsewhere')
    await runOk('mkdir', [elsewhere])
    const [here, there] = [await importTree('here', 'h'), await importTree('there', 't', elsewhere)]
    const composition = join(folder, 'swapped.toml')
    writeFileSync(composition, compositionOf(folder))
    await using mount = await StoreMount.start(namespace, await namespace.directory('swapped'), [
      `--store-composition=${composition}`,
    ])
    expect(await read(mount, here)).toBe('file h\n')
    expect(await read(mount, there)).toBe('No such file or directory\n')

    writeFileSync(composition, `${compositionOf(elsewhere)}nonsense = 1\n`)
    mount.kill('SIGHUP')
    await expect
      .poll(() => mount.log, { timeout: 20_000 })
      .toMatch(/stay what they were: .*swapped.toml.*nonsense/)
    expect(await read(mount, here)).toBe('file h\n')

    writeFileSync(composition, compositionOf(elsewhere))
    mount.kill('SIGHUP')
    await expect.poll(() => read(mount, there), { timeout: 20_000 }).toBe('file t\n')
    await expect.poll(() => read(mount, here), { timeout: 20_000 }).toBe('No such file or directory\n')
    expect(mount.log).toContain('opened anew')
    expect(await mount.stop()).toBe(0)
  })
})

function compositionOf(store: string): string {
  return `blobservices.root = { type = "objectstore", object_store_url = "file://${store}/blobs.object_store" }
directoryservices.root = { type = "lmdb", path = "${store}/directories.lmdb" }
pathinfoservices.root = { type = "lmdb", path = "${store}/pathinfo.lmdb" }
`
}
