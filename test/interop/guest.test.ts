/**
 * A store in a virtual machine: a real Linux, in software emulation, whose /nix/store is served by `tvix-store virtiofs`, or
 * by Debian's virtiofsd over `tvix-store mount`. Programs in it know of neither.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, importedName, remoteStoreFlags, runOk, startDaemon, until } from '../support/cli.ts'
import { DeviceProcess } from '../support/guest/device-process.ts'
import { Guest, VIRTIOFSD_C, whyNoGuests } from '../support/guest/machine.ts'
import { ERRNOS, HASH, LIST, READ } from '../support/guest/programs.ts'
import { loseBlob } from '../support/lost.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { FULL } from '../support/requirements.ts'
import { makeProgramTree, makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'

/** `scripts/test --full` reads 512 MiB. */
const LARGE_FILES = FULL ? 8 : 1
const LARGE_BYTES = 64 * 1024 * 1024
const ABSENT = `/nix/store/${'0'.repeat(32)}-absent`
/** Programs run under emulation, while others do the same. */
const TEST_MS = 180_000

const noGuests = whyNoMounts() ?? whyNoGuests()
const reasons = {
  ours: noGuests,
  virtiofsd: noGuests ?? (VIRTIOFSD_C ? undefined : 'no virtiofsd of qemu-system-common'),
}

describe.each(['ours', 'virtiofsd'] as const)('a store in a guest, %s', (way) => {
  const reason = reasons[way]
  describe.skipIf(reason)(reason ? `skipped: ${reason}` : 'one after the other', () => {
    let folder: string
    let namespace: MountNamespace
    let daemon: Daemon
    let flags: string[]
    let mount: StoreMount | undefined
    let device: DeviceProcess
    let guest: Guest
    let source: string
    let stored: string

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tvix-store-guest-'))
      source = join(folder, 'source')
      makeSourceTree(source)
      await mkdir(join(source, 'large-ones'))
      for (let i = 0; i < LARGE_FILES; i++)
        await writeFile(join(source, `large-ones/${i}`), randomBytes(LARGE_BYTES))
      daemon = await startDaemon(folder)
      flags = remoteStoreFlags(daemon.address)
      stored = await imported(source)
      namespace = await MountNamespace.create()
      const sockets = [join(folder, 'fs.socket'), join(folder, 'second.socket')]
      if (way === 'ours') device = await DeviceProcess.ours(sockets, ['--list-root', ...flags])
      else {
        mount = await StoreMount.start(namespace, await namespace.directory('store'), [
          '--list-root',
          ...flags,
        ])
        device = await DeviceProcess.virtiofsd(namespace, mount.target, sockets[0]!)
      }
      guest = await Guest.boot({ folder, shares: { store: sockets[0]! } })
      await guest.mount('store', '/nix/store')
    }, TEST_MS)

    afterAll(async () => {
      await guest?.[Symbol.asyncDispose]()
      await device?.[Symbol.asyncDispose]()
      await mount?.[Symbol.asyncDispose]()
      await namespace?.[Symbol.asyncDispose]()
      await daemon?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    async function imported(path: string): Promise<string> {
      return join('/nix/store', await importedName(flags, path))
    }

    const onHost = async (script: string, path: string) =>
      JSON.parse(await runOk('python3', ['-c', script, path])) as unknown

    test(
      `lists completely, and ${LARGE_FILES * 64} MiB have the host's checksums`,
      async () => {
        expect(await guest.python(LIST, stored)).toEqual(await onHost(LIST, source))
        expect(await guest.python(HASH, stored)).toEqual(await onHost(HASH, source))
        // Again, from what the guest keeps.
        expect(await guest.python(LIST, stored)).toEqual(await onHost(LIST, source))
      },
      TEST_MS,
    )

    test(
      'lists the store, and new paths soon',
      async () => {
        expect(await guest.runOk('ls', '/nix/store')).toContain(basename(stored))
        await writeFile(join(folder, 'late'), 'late')
        const late = await imported(join(folder, 'late'))
        await until(async () => (await guest.run('cat', late)).stdout === 'late', 10_000)
        // virtiofsd tells the guest to keep listings, and nobody can tell it otherwise.
        if (way === 'ours')
          await until(
            async () => (await guest.run('ls', '/nix/store')).stdout.includes(basename(late)),
            10_000,
          )
      },
      TEST_MS,
    )

    test(
      'executes a script, and a program with the libraries beside it',
      async () => {
        expect((await guest.run(join(stored, 'script'), 'yes')).stdout).toBe('from a script: yes\n')
        const program = join(folder, 'program')
        makeProgramTree(program)
        const path = await imported(program)
        const loader = join(path, 'lib/ld-linux-x86-64.so.2')
        const output = await guest.run(
          loader,
          '--library-path',
          join(path, 'lib'),
          join(path, 'bin/ls'),
          path,
        )
        expect({ status: output.status, stdout: output.stdout }).toEqual({ status: 0, stdout: 'bin\nlib\n' })
      },
      TEST_MS,
    )

    test(
      'is not there where nothing is',
      async () => {
        const absent = [join(stored, 'absent'), join(stored, 'file/below'), ABSENT, '/nix/store/x']
        const expected = ['ENOENT', 'ENOTDIR', 'ENOENT', 'ENOENT']
        expect(await guest.python(ERRNOS, ...absent)).toEqual(expected)
        expect(await guest.python(ERRNOS, ...absent)).toEqual(expected)
      },
      TEST_MS,
    )

    test(
      'cannot be changed, even where the guest mounted it to be written',
      async () => {
        const attempts = (root: string) => [
          ['touch', join(root, 'new')],
          ['mkdir', join(root, 'new')],
          ['rm', '-f', join(root, 'file')],
          ['mv', join(root, 'file'), join(root, 'other')],
          ['chmod', '777', join(root, 'file')],
          ['ln', '-s', 'x', join(root, 'new')],
          ['sh', '-c', 'echo changed >"$0"', join(root, 'file')],
        ]
        await guest.mount('store', '/mnt', 'rw')
        for (const root of [stored, join('/mnt', basename(stored))])
          for (const [program, ...args] of attempts(root)) {
            const { status, stderr } = await guest.run(program!, ...args)
            expect({ program, status: status === 0, stderr }).toEqual({
              program,
              status: false,
              stderr: expect.stringContaining('Read-only file system'),
            })
          }
        await guest.runOk('umount', '/mnt')
        expect(await guest.runOk('cat', join(stored, 'file'))).toBe('contents\n')
      },
      TEST_MS,
    )

    test(
      'what the store lost is EIO, and only that',
      async () => {
        const path = join(folder, 'lossy')
        await mkdir(path)
        for (const name of ['lost', 'whole']) await writeFile(join(path, name), `${name}, ${way}`)
        const lossy = await imported(path)
        await loseBlob(join(folder, 'blobs.object_store'), `lost, ${way}`)
        expect(await guest.python(ERRNOS, join(lossy, 'lost'))).toEqual(['ok'])
        expect(await guest.python(READ, join(lossy, 'lost'))).toBe('EIO')
        expect(await guest.python(READ, join(lossy, 'whole'))).toBe(`whole, ${way}`)
        expect((mount ?? device).log).toContain(basename(lossy))
      },
      TEST_MS,
    )

    test(
      'goes on without its daemon with what it knows, and with everything when that is back',
      async () => {
        const path = join(folder, 'outage')
        await mkdir(join(path, 'sub'), { recursive: true })
        for (const name of ['known', 'unknown', 'sub/file']) await writeFile(join(path, name), name)
        const outage = await imported(path)
        expect(await guest.python(READ, join(outage, 'known'))).toBe('known')
        await daemon.stop('SIGKILL')
        expect(await guest.python(READ, join(outage, 'known'))).toBe('known')
        expect(await guest.python(ERRNOS, join(outage, 'unknown'))).toEqual(['ok'])
        expect(await guest.python(READ, join(outage, 'sub/file'))).toBe('EIO')
        expect(await guest.python(ERRNOS, ABSENT.replace('absent', 'other'))).toEqual(['EIO'])
        daemon = await startDaemon(folder)
        await until(async () => (await guest.python(READ, join(outage, 'unknown'))) === 'unknown', 30_000)
        expect(await guest.python(READ, join(outage, 'sub/file'))).toBe('sub/file')
      },
      TEST_MS,
    )

    if (way === 'ours') {
      test(
        'a second guest, on another socket, fetches nothing that the first one read',
        async () => {
          const path = join(folder, 'shared')
          // Nothing that the first one has in its own caches, and no more than is kept in memory without --cache-dir.
          await mkdir(path)
          await writeFile(join(path, 'large'), randomBytes(5_000_000))
          for (let i = 0; i < 200; i++) await writeFile(join(path, `file-${i}`), randomBytes(10_000))
          const shared = await imported(path)
          await guest.python(LIST, shared)
          const first = await guest.python(HASH, shared)
          const before = await device.stats()
          expect(before.store.chunks.fetched).toBeGreaterThan(200)
          const second = join(folder, 'second')
          await mkdir(second)
          await using other = await Guest.boot({
            folder: second,
            shares: { store: join(folder, 'second.socket') },
          })
          await other.mount('store', '/nix/store')
          await other.python(LIST, shared)
          expect(await other.python(HASH, shared)).toEqual(first)
          const after = await device.stats()
          expect(after.kernel.bytesRead).toBeGreaterThan(before.kernel.bytesRead + 7_000_000 - 1)
          for (const kind of ['rootLookups', 'directories', 'chunkLists', 'chunks'] as const)
            expect([kind, after.store[kind].fetched]).toEqual([kind, before.store[kind].fetched])
        },
        TEST_MS,
      )

      test(
        'goes on when the guest is reset, which mounts anew',
        async () => {
          await guest.runOk('umount', '/nix/store')
          await guest.mount('store', '/nix/store')
          expect(await guest.runOk('cat', join(stored, 'file'))).toBe('contents\n')
          await guest.halt()
          await until(() => device.log.includes('the virtual machine monitor left'))
          await using again = await Guest.boot({ folder, shares: { store: join(folder, 'fs.socket') } })
          await again.mount('store', '/nix/store')
          expect(await again.runOk('cat', join(stored, 'file'))).toBe('contents\n')
        },
        TEST_MS,
      )
    }
  })
})
