/** The whole way over packs: trees on disk, `import` by several processes at once, `mount`, and programs that read it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { importedName, localStoreFlags, remoteStoreFlags, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'
import { tempDir } from '../support/temp-dir.ts'

const reason = whyNoMounts()
const title = reason ? `a mounted store in packs (skipped: ${reason})` : 'a mounted store in packs'

async function importTree(flags: readonly string[], path: string, cache: string): Promise<string> {
  return await importedName(flags, path, { XDG_CACHE_HOME: cache })
}

describe.skipIf(reason)(title, () => {
  test('equals what several processes imported at once, one of them a daemon, in one run of the mount', async () => {
    await using dir = await tempDir()
    const [one, two] = [join(dir.path, 'one'), join(dir.path, 'two')]
    for (const source of [one, two]) makeSourceTree(source)
    await mkdir(join(two, 'many'))
    for (let i = 0; i < 300; i++) await writeFile(join(two, 'many', `f${i}`), `contents ${i}\n`.repeat(i + 1))
    const own = localStoreFlags(dir.path, 'packs')
    await using daemon = await startDaemon(dir.path, ...own)
    await using namespace = await MountNamespace.create()
    await using mount = await StoreMount.start(namespace, await namespace.directory('store'), [
      '--list-root',
      ...own,
    ])
    const names = await Promise.all([
      importTree(remoteStoreFlags(daemon.address), one, dir.path),
      importTree(own, two, dir.path),
    ])
    expect((await readdir(join(dir.path, 'blobs.packs/packs'))).length).toBeLessThanOrEqual(2)
    for (const [i, source] of [one, two].entries()) {
      const { stdout, stderr } = await namespace.run(
        'diff',
        '-r',
        '--no-dereference',
        source,
        join(mount.target, names[i]!),
      )
      expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' })
    }
    // Small files came out of the packs by the addon, before they were asked for.
    expect((await mount.stats()).kernel.filled.files).toBeGreaterThan(0)
  })

  test('says EIO for what a lost pack had, and why in the log, and never that it is absent', async () => {
    await using dir = await tempDir()
    makeSourceTree(join(dir.path, 'source'))
    const own = localStoreFlags(dir.path, 'packs')
    const name = await importTree(own, join(dir.path, 'source'), dir.path)
    await rm(join(dir.path, 'blobs.packs/packs/00000000.pack'))
    await using namespace = await MountNamespace.create()
    await using mount = await StoreMount.start(namespace, await namespace.directory('store'), own)
    const { stderr } = await namespace.run('cat', join(mount.target, name, 'file'))
    expect(stderr).toContain('Input/output error')
    expect(mount.log).toContain('00000000.pack: the file is missing')
  })
})

test('a full disk fails an import with a line that says so', async () => {
  await using dir = await tempDir()
  makeSourceTree(join(dir.path, 'source'))
  // The limit on file sizes stands in for the full disk.
  const script = `trap '' XFSZ; ulimit -f 40; exec "$0" "$@"`
  const args = ['import', ...localStoreFlags(dir.path, 'packs'), join(dir.path, 'source')]
  const child = spawn('bash', ['-c', script, TVIX_STORE, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, XDG_CACHE_HOME: dir.path },
  })
  let told = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text
  })
  const [code] = await once(child, 'close')
  expect({ code, told }).toEqual({
    code: 75,
    told: expect.stringMatching(/00000000\.pack: the file would be larger/),
  })
})
