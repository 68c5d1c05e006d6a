/**
 * A mount over `cache(near = cache-dir, far = S3)` while the S3 server is killed, stopped, frozen and started again
 * under load: what is cached never fails, anything else fails by its deadline, and is read once S3 is back.
 */
import { once } from 'node:events'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MOUNT_CALL_MS_MAX } from '../../src/support/limits.ts'
import { importedName, until } from '../support/cli.ts'
import { type CloudServer, s3Server } from '../support/cloud-servers.ts'
import { CLOUDS } from '../support/clouds.ts'
import { farComposition } from '../support/far-composition.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { StoreMount } from '../support/store-mount.ts'

const startable = await s3Server()
const reason = whyNoMounts() ?? ('missing' in startable ? startable.missing : undefined)
const title = reason ? `a mount over S3 (skipped: ${reason})` : 'a mount over S3'

const CACHED_FILES = 40
const COLD_FILES = 200
/** Files that are let go in each round, of which some meet the outage. */
const PERMITS = 40
const EIO = 5
const ETIMEDOUT = 110

interface ReadEvent {
  readonly kind: 'cached' | 'cold'
  readonly ok: boolean
  readonly errno: number | null
  readonly seconds: number
}

describe.skipIf(reason)(title, () => {
  let folder: string
  let server: CloudServer
  let namespace: MountNamespace
  let composition: string
  const paths: string[] = []

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-outage-'))
    if (!('start' in startable)) throw new Error(startable.missing)
    server = await startable.start()
    const bucket = `objectstore+${CLOUDS.s3.url(server.port, 'store')}`
    composition = join(folder, 'store.toml')
    await writeFile(composition, farComposition(folder, bucket, `${folder}/pathinfo.lmdb`))
    await makeFiles(join(folder, 'cached'), CACHED_FILES, 1)
    await makeFiles(join(folder, 'cold'), COLD_FILES, 1_000)
    const flags = [
      `--blob-service-addr=${bucket}`,
      `--directory-service-addr=${bucket}`,
      `--path-info-service-addr=lmdb://${folder}/pathinfo.lmdb`,
    ]
    for (const kind of ['cached', 'cold']) paths.push(await importedName(flags, join(folder, kind)))
    namespace = await MountNamespace.create()
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test('goes on with what is cached, and finds back to the rest', { timeout: 300_000 }, async () => {
    const [cached, cold] = paths as [string, string]
    const flags = [`--store-composition=${composition}`]
    {
      await using first = await StoreMount.start(namespace, await namespace.directory('first'), flags)
      const { stderr } = await namespace.run('diff', '-r', join(folder, 'cached'), join(first.target, cached))
      expect(stderr).toBe('')
      expect(await first.stop()).toBe(0)
    }
    // Another process: what is cached is on disk now, and nowhere in memory.
    await using mount = await StoreMount.start(namespace, await namespace.directory('second'), flags)
    const permits = join(folder, 'permits')
    await writeFile(permits, '0')
    const events: ReadEvent[] = []
    const script = join(import.meta.dirname, '../support/outage-reader.py')
    const mounted = [cached, cold].map((name) => join(mount.target, name))
    const reader = namespace.spawn('python3', script, folder, ...mounted, permits)
    await using _ = {
      async [Symbol.asyncDispose]() {
        reader.kill('SIGTERM') // passed on by what it runs under
        await once(reader, 'exit')
      },
    }
    createInterface({ input: reader.stdout }).on('line', (line) => events.push(JSON.parse(line)))
    const count = (kind: string, ok: boolean) =>
      events.filter((each) => each.kind === kind && each.ok === ok).length

    let permitted = 0
    for (const outage of ['SIGKILL', 'SIGTERM', 'SIGSTOP', 'SIGKILL'] as const) {
      permitted += PERMITS
      const before = {
        cached: count('cached', true),
        failed: count('cold', false),
        read: count('cold', true),
      }
      await writeWhole(permits, String(permitted))
      // In the middle of it; but at first not even the directory is known.
      if (permitted > PERMITS) await until(() => count('cold', true) > before.read)
      await server.signal(outage)
      // A frozen server only keeps reads waiting: its time is not up when it goes on.
      const failures = outage === 'SIGSTOP' ? 0 : 2
      await until(
        () => count('cold', false) >= before.failed + failures && count('cached', true) >= before.cached + 4,
        MOUNT_CALL_MS_MAX + 10_000,
      )
      expect(count('cold', true), outage).toBeLessThan(permitted)
      if (outage === 'SIGSTOP') await server.signal('SIGCONT')
      else await server.restart()
      await until(() => count('cold', true) === permitted, MOUNT_CALL_MS_MAX)
    }

    expect(events.filter(({ kind, ok }) => kind === 'cached' && !ok)).toEqual([])
    // Wrong bytes would be a failure without an errno.
    const failed = events.filter(({ ok }) => !ok)
    expect(failed.filter(({ errno }) => errno !== EIO && errno !== ETIMEDOUT)).toEqual([])
    const slowest = Math.max(...events.map(({ seconds }) => seconds))
    expect(slowest).toBeLessThan(MOUNT_CALL_MS_MAX / 1000 + 1)
    console.info(
      `${events.length} results, ${failed.length} failures outside the cache, slowest ${slowest.toFixed(1)} s`,
    )
  })
})

/** Small ones and some of several chunks. */
async function makeFiles(folder: string, files: number, seed: number): Promise<void> {
  await mkdir(folder)
  for (let i = 0; i < files; i++)
    await writeFile(
      join(folder, `${i}`.padStart(4, '0')),
      pseudoRandom(i % 8 === 0 ? 1_500_000 : 20_000, seed + i),
    )
}

/** The reader never sees half of it. */
async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
}
