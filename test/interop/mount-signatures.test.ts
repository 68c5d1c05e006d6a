/** `mount --require-signatures`: what nobody trusted signed is not there for programs, and the log says why. */
import { writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { importedPath, localStoreFlags, run, runOk, TVIX_STORE } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeNixClosure, type NixClosure } from '../support/nix-closure.ts'
import { HAS_NIX } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts() ?? (HAS_NIX ? undefined : 'no Nix')
const EIO = 5

describe.skipIf(reason)(
  reason ? `signatures (skipped: ${reason})` : 'a mount that requires signatures',
  () => {
    let folder: string
    let namespace: MountNamespace
    let store: NixClosure
    let flags: string[]
    let trusted: string
    let stranger: string
    /** Content-addressed, and signed by nobody. */
    let imported: string

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tvix-store-signatures-'))
      for (const name of ['trusted', 'stranger'])
        await runOk(TVIX_STORE, [
          ...['key', 'generate', `${name}-1`],
          ...['--output', join(folder, `${name}.secret`), '--public', join(folder, `${name}.public`)],
        ])
      trusted = (await readFile(join(folder, 'trusted.public'), 'utf8')).trim()
      stranger = (await readFile(join(folder, 'stranger.public'), 'utf8')).trim()
      store = await makeNixClosure(folder)
      flags = localStoreFlags(folder)
      // The library is not signed; the tool is by the one whom we trust, and the app by another.
      const copy = ['copy', '--from', 'local', '--root', store.root]
      await runOk(TVIX_STORE, [...copy, ...flags, store.library])
      await runOk(TVIX_STORE, [...copy, '--store-composition', signing('trusted'), store.tool])
      await runOk(TVIX_STORE, [...copy, '--store-composition', signing('stranger'), store.app])
      writeFileSync(join(folder, 'source'), 'contents that prove their name\n')
      imported = await importedPath(flags, join(folder, 'source'))
      namespace = await MountNamespace.create()
    }, 60_000)

    afterAll(async () => {
      await namespace?.[Symbol.asyncDispose]()
      if (HAS_NIX) await runOk('chmod', ['-R', 'u+w', folder])
      await rm(folder, { recursive: true, force: true })
    })

    /** The same store, signing what is put into it. */
    function signing(key: string): string {
      const file = join(folder, `${key}.toml`)
      writeFileSync(
        file,
        `blobservices.root = { type = "objectstore", object_store_url = "file://${folder}/blobs.object_store" }
directoryservices.root = { type = "lmdb", path = "${folder}/directories.lmdb" }
pathinfoservices.root = { type = "keyfile-signing", inner = "lmdb://${folder}/pathinfo.lmdb", keyfile = "${folder}/${key}.secret" }
`,
      )
      return file
    }

    const required = (...keys: string[]) => ['--require-signatures', '--trusted-public-keys', ...keys]

    async function start(name: string, ...more: string[]): Promise<StoreMount> {
      return await StoreMount.start(namespace, await namespace.directory(name), ['-l', ...more, ...flags])
    }

    /** The errno of looking at a store path; 0 when it is there and its files can be read. */
    async function errnoOf(mount: StoreMount, path: string): Promise<unknown> {
      const script = `
import os, sys
try:
    os.stat(sys.argv[1]); os.path.isfile(sys.argv[1]) and open(sys.argv[1]).read(); print(0)
except OSError as error: print(error.errno)
`
      return await namespace.python(script, join(mount.target, basename(path)))
    }

    test('shows what a trusted key signed and what its contents prove, and refuses the rest', async () => {
      await using mount = await start('trusted', ...required(trusted))
      expect(await errnoOf(mount, store.tool)).toBe(0)
      expect(await errnoOf(mount, imported)).toBe(0)
      for (const path of [store.app, store.library]) expect(await errnoOf(mount, path)).toBe(EIO)
      expect(await errnoOf(mount, `/nix/store/${'0'.repeat(32)}-absent`)).toBe(2)
      const { stdout } = await namespace.run('ls', mount.target)
      expect(stdout.trim().split('\n').sort()).toEqual(
        [store.tool, imported].map((path) => basename(path)).sort(),
      )
      expect(await mount.stop()).toBe(0)
    })

    test('says once who signed and who is trusted', async () => {
      await using mount = await start('log', ...required(trusted))
      for (let i = 0; i < 5; i++) await errnoOf(mount, store.app)
      const lines = mount.log.split('\n').filter((line) => line.includes('signed by'))
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain(`${basename(store.app)} has no valid signature of a trusted key`)
      expect(lines[0]).toContain('it says to be signed by stranger-1; trusted are trusted-1')
    })

    test('trusts several keys', async () => {
      await using mount = await start('several', ...required(trusted, stranger))
      for (const path of [store.app, store.tool]) expect(await errnoOf(mount, path)).toBe(0)
      expect(await errnoOf(mount, store.library)).toBe(EIO)
    })

    test('(negative control) does not do so unless it is told to', async () => {
      await using mount = await start('all')
      for (const path of [store.app, store.tool, store.library, imported])
        expect(await errnoOf(mount, path)).toBe(0)
    })

    test('of a closure with a path that is not signed is refused before anything is mounted', async () => {
      const target = await namespace.directory('closure')
      const closure = [...required(trusted), '--closure-of', store.tool, ...flags]
      const { status, stderr } = await StoreMount.refused(namespace, target, closure)
      expect(status).toBe(65)
      expect(stderr).toContain(`${basename(store.library)} has no valid signature`)
    })

    test.each([
      [['--require-signatures'], '--require-signatures needs --trusted-public-keys'],
      [['--trusted-public-keys', 'a-1:AAAA'], 'goes with --require-signatures'],
      [['--require-signatures', '--trusted-public-keys', 'nonsense'], 'nonsense'],
    ])('refuses %s', async (wrong, message) => {
      const { code, stderr } = await run(TVIX_STORE, ['mount', ...flags, ...wrong, '--', folder])
      expect(code).toBe(64)
      expect(stderr).toContain(message)
    })
  },
)
