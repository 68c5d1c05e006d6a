/**
 * A guest over a store of this machine, which `tvix-store virtiofs` reads by shorter ways than one of another: listings on
 * the spot, chunks by the addon. And over a composition, which is read anew on SIGHUP.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { importedName, localStoreFlags, runOk, until } from '../support/cli.ts'
import { DeviceProcess } from '../support/guest/device-process.ts'
import { Guest, whyNoGuests } from '../support/guest/machine.ts'
import { HASH, LIST, READ } from '../support/guest/programs.ts'
import { loseBlob } from '../support/lost.ts'
import { signalIfAlive, whyNoMounts } from '../support/mount.ts'
import { makeSourceTree } from '../support/source-tree.ts'

const TEST_MS = 180_000
const SMALL_FILES = 300
const reason = whyNoMounts() ?? whyNoGuests()

describe.skipIf(reason)(
  `a guest over a store of this machine${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let folder: string
    let elsewhere: string
    let composition: string
    let local: DeviceProcess
    let composed: DeviceProcess
    let guest: Guest

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tvix-store-guest-local-'))
      elsewhere = join(folder, 'elsewhere')
      await mkdir(elsewhere)
      composition = join(folder, 'composition.toml')
      await writeFile(composition, compositionOf(folder))
      const sockets = [join(folder, 'local.socket'), join(folder, 'composed.socket')] as const
      local = await DeviceProcess.ours([sockets[0]], ['--list-root', ...localStoreFlags(folder)])
      composed = await DeviceProcess.ours([sockets[1]], [`--store-composition=${composition}`])
      guest = await Guest.boot({ folder, shares: { local: sockets[0], composed: sockets[1] } })
      await guest.mount('local', '/nix/store')
      await guest.mount('composed', '/mnt')
    }, TEST_MS)

    afterAll(async () => {
      await guest?.[Symbol.asyncDispose]()
      await local?.[Symbol.asyncDispose]()
      await composed?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    async function imported(path: string, store = folder): Promise<string> {
      return await importedName(localStoreFlags(store), path)
    }

    const onHost = async (script: string, path: string) =>
      JSON.parse(await runOk('python3', ['-c', script, path])) as unknown

    test(
      'lists completely, and everything has the checksums of the host',
      async () => {
        const source = join(folder, 'source')
        makeSourceTree(source)
        await mkdir(join(source, 'small'))
        for (let i = 0; i < SMALL_FILES; i++)
          await writeFile(join(source, `small/${i}`), randomBytes(1 + i * 400))
        const path = join('/nix/store', await imported(source))
        expect(await guest.python(LIST, path)).toEqual(await onHost(LIST, source))
        expect(await guest.python(HASH, path)).toEqual(await onHost(HASH, source))
        // Nothing that lies here is read before it is asked for.
        const { store } = await local.stats()
        expect(store.chunks.fetched).toBeLessThan(SMALL_FILES + 100)
      },
      TEST_MS,
    )

    test(
      'a chunk that is lost or damaged is EIO, and only that, small ones and large',
      async () => {
        const source = join(folder, 'damaged')
        await mkdir(source)
        const large = Buffer.alloc(100_000, 'large')
        const contents = { lost: 'lost', rotten: 'rotten', whole: 'whole', large: large.toString() }
        for (const [name, text] of Object.entries(contents)) await writeFile(join(source, name), text)
        const path = join('/nix/store', await imported(source))
        const store = join(folder, 'blobs.object_store')
        await loseBlob(store, 'lost')
        await replaceChunk(store, Buffer.from('rotten'), Buffer.from('ROTTEN'))
        await replaceChunk(store, large, Buffer.alloc(100_000, 'LARGE'))
        for (const name of ['lost', 'rotten', 'large'])
          expect([name, await guest.python(READ, join(path, name))]).toEqual([name, 'EIO'])
        expect(await guest.python(READ, join(path, 'whole'))).toBe('whole')
        expect(local.log).toContain(basename(path))
      },
      TEST_MS,
    )

    test(
      'turns to another composition on SIGHUP, and stays with the old one when that is wrong',
      async () => {
        for (const name of ['here', 'known', 'there']) await writeFile(join(folder, name), name)
        const [here, known] = [await imported(join(folder, 'here')), await imported(join(folder, 'known'))]
        const there = await imported(join(folder, 'there'), elsewhere)
        expect(await guest.python(READ, join('/mnt', known))).toBe('known')
        expect(await guest.python(READ, join('/mnt', there))).toBe('ENOENT')

        await writeFile(composition, `${compositionOf(elsewhere)}nonsense = 1\n`)
        signalIfAlive(composed.pid, 'SIGHUP')
        await until(() => /stay what they were: .*composition.toml.*nonsense/.test(composed.log), 20_000)
        expect(await guest.python(READ, join('/mnt', here))).toBe('here')

        await writeFile(composition, compositionOf(elsewhere))
        signalIfAlive(composed.pid, 'SIGHUP')
        await until(() => composed.log.includes('opened anew'), 20_000)
        await until(async () => (await guest.python(READ, join('/mnt', there))) === 'there', 20_000)
        // Nobody can tell a guest to forget what it read.
        expect(await guest.python(READ, join('/mnt', known))).toBe('known')
      },
      TEST_MS,
    )
  },
)

/** Puts another chunk in its place, well-formed, as a disk that mixes up its sectors might. */
async function replaceChunk(store: string, contents: Buffer, other: Buffer): Promise<void> {
  const { hex } = Digest.of(contents)
  await writeFile(join(store, 'chunks/b3', hex.slice(0, 4), hex), zstdCompressSync(other))
}

function compositionOf(store: string): string {
  return `blobservices.root = { type = "objectstore", object_store_url = "file://${store}/blobs.object_store" }
directoryservices.root = { type = "lmdb", path = "${store}/directories.lmdb" }
pathinfoservices.root = { type = "lmdb", path = "${store}/pathinfo.lmdb" }
`
}
