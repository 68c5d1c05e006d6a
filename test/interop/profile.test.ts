/** Recording what a workload touches, and fetching that ahead the next time. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, importedName, localStoreFlags, remoteStoreFlags, startDaemon } from '../support/cli.ts'
import { whyNoLibfuse } from '../support/libfuse.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()

describe.skipIf(reason)(reason ? `profiles (skipped: ${reason})` : 'profiles', () => {
  let folder: string
  let namespace: MountNamespace
  let daemon: Daemon
  let path: string
  let profile: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-profile-'))
    profile = join(folder, 'profile')
    for (const name of ['bin', 'lib', 'share']) {
      mkdirSync(join(folder, 'source', name), { recursive: true })
      for (let n = 0; n < 10; n++) writeFileSync(join(folder, 'source', name, `file${n}`), `${name} ${n}\n`)
    }
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

  async function start(name: string, ...flags: string[]): Promise<StoreMount> {
    const target = await namespace.directory(name)
    return await StoreMount.start(namespace, target, [...remoteStoreFlags(daemon.address), ...flags])
  }

  test('--record writes what was touched when the mount ends', async () => {
    await using mount = await start('record', '--record', profile)
    const file = (name: string) => join(mount.target, path, name)
    await namespace.run('cat', file('lib/file3'), file('bin/file7'))
    expect(await mount.stop()).toBe(0)
    expect((await readFile(profile, 'utf8')).trimEnd().split('\n')).toEqual([
      'tvix-store profile 1',
      `list ${path}`,
      `list ${path}/lib`,
      `read 0-6 ${path}/lib/file3`,
      `list ${path}/bin`,
      `read 0-6 ${path}/bin/file7`,
    ])
  })

  const ways: readonly (readonly string[])[] = [
    ['--driver', 'native'],
    ...(whyNoLibfuse() ? [] : [['--driver', 'libfuse']]),
  ]
  test.each(ways)(
    'over a store of this machine it sees the same, though chunks are read past the services (%s %s)',
    async (...driver) => {
      const target = await namespace.directory(`record-${driver[1]}`)
      const flags = [...localStoreFlags(folder), ...driver, '--metrics', '127.0.0.1:0']
      const local = join(folder, 'local-profile')
      await using mount = await StoreMount.start(namespace, target, [...flags, '--record', local])
      const file = (name: string) => join(mount.target, path, name)
      const { stdout } = await namespace.run('cat', file('lib/file3'), file('bin/file7'))
      expect(stdout).toBe('lib 3\nbin 7\n')
      const [, address] = /"metrics_address":"([^"]+)"/.exec(mount.log)!
      const counted = await (await fetch(`http://${address}/metrics`)).text()
      expect(
        counted.split('\n').filter((line) => /calls_total.*service="blobs",method="read"/.test(line)),
      ).toEqual([])
      expect(await mount.stop()).toBe(0)
      // Where libfuse looks for a name it lists nothing.
      const reads = (text: string) => text.split('\n').filter((line) => line.startsWith('read '))
      expect(reads(await readFile(local, 'utf8'))).toEqual(reads(await readFile(profile, 'utf8')))
    },
  )

  test('--prefetch brings just that, so that reading it fetches nothing', async () => {
    await using mount = await start('prefetch', '--prefetch', profile)
    await expect.poll(async () => (await mount.stats()).store.readAhead.fetched, { timeout: 20_000 }).toBe(2)
    const before = (await mount.stats()).store
    // All of the path, in one call.
    expect([before.directories.fetched, before.subtrees.fetched]).toEqual([0, 1])
    const { stdout } = await namespace.run(
      'cat',
      join(mount.target, path, 'lib/file3'),
      join(mount.target, path, 'bin/file7'),
    )
    expect(stdout).toBe('lib 3\nbin 7\n')
    const after = (await mount.stats()).store
    expect(after.directories.fetched).toBe(before.directories.fetched)
    expect(after.chunks.fetched).toBe(before.chunks.fetched)
  })

  test('a profile that is none is refused before anything is mounted', async () => {
    const target = await namespace.directory('refused')
    writeFileSync(join(folder, 'wrong'), 'nonsense\n')
    const flags = [...remoteStoreFlags(daemon.address), '--prefetch', join(folder, 'wrong')]
    const { status, stderr } = await StoreMount.refused(namespace, target, flags)
    expect(status).toBe(64)
    expect(stderr).toContain('wrong is no profile')
  })
})
