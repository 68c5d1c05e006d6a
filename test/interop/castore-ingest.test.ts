/** `tvix-store castore ingest`: contents by their digest, for scripts (spec §4.5). */
import { link, mkdir, open, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, remoteStoreFlags, run, runOk, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { tempDir } from '../support/temp-dir.ts'

let folder: Awaited<ReturnType<typeof tempDir>>
let tree: string
/** What `import` says of the same tree. */
let root: { readonly type: string; readonly digest: string; readonly size: number }

beforeAll(async () => {
  folder = await tempDir()
  tree = join(folder.path, 'tree')
  makeSourceTree(tree)
  const store = join(folder.path, 'store-of-import')
  root = JSON.parse(await runOk(TVIX_STORE, ['import', '--json', ...localStoreFlags(store), tree])).root
})

afterAll(() => folder[Symbol.asyncDispose]())

function ingest(store: string, ...args: string[]) {
  return run(TVIX_STORE, ['castore', 'ingest', ...localStoreFlags(join(folder.path, store)), ...args])
}

/** What `tar c` writes, into `castore ingest -`; what each of them said. */
async function ingestTarOf(tree: string, ...flags: string[]): Promise<string> {
  const flagsOfStore = localStoreFlags(join(folder.path, 'store')).join(' ')
  const pack = `tar -c ${flags.join(' ')} -C "${join(tree, '..')}" "${basename(tree)}"`
  return await runOk('bash', [
    '-c',
    `set -o pipefail; ${pack} | ${TVIX_STORE} castore ingest ${flagsOfStore} -`,
  ])
}

/** Hard links, sparse files and long names, which makers of tars write in many ways. */
async function makeOddTree(path: string): Promise<void> {
  makeSourceTree(path)
  for (const [target, name] of [
    ['large', 'empty/hard'],
    ['link-of-bytes', 'empty/hard-symlink'],
  ] as const)
    await link(join(path, target), join(path, name))
  const long = 'n'.repeat(200)
  await mkdir(join(path, long, long), { recursive: true })
  await writeFile(join(path, long, long, 'file'), 'below 400 bytes of names')
  await symlink(`../${long}/${long}/${long}`, join(path, long, 'link'))
  await using sparse = await open(join(path, 'sparse'), 'w')
  // More regions than a header of the old GNU format has room for, and a hole at the end.
  for (let i = 1; i <= 60; i++) await sparse.write(`region ${i}`, i * 65_536)
  await sparse.truncate(5_000_000)
}

const FORMATS = [
  ...['--format=gnu', '--format=pax', '--format=gnu --sparse'],
  ...['0.0', '0.1', '1.0'].map((version) => `--format=pax --sparse --sparse-version=${version}`),
]
/** These cannot say everything: no names of more than 100 or 256 bytes. */
const OLD_FORMATS = ['--format=ustar', '--format=v7']

describe('castore ingest of a tar', () => {
  let odd: string
  let digest: string
  beforeAll(async () => {
    odd = join(folder.path, 'odd-tree')
    await makeOddTree(odd)
    digest = (await ingest('store', odd)).stdout
    expect(digest).toMatch(/^blake3-/)
  })

  test.each(FORMATS)('tar %s: the digest of the directory', async (flags) => {
    expect(await ingestTarOf(odd, flags)).toBe(digest)
  })

  test.each([...FORMATS, ...OLD_FORMATS])('tar %s of /usr/share/perl5', async (flags) => {
    expect(await ingestTarOf('/usr/share/perl5', flags)).toBe(
      (await ingest('store', '/usr/share/perl5')).stdout,
    )
  })

  test('in a file, with hard links written as such', async () => {
    const archive = join(folder.path, 'odd.tar')
    await runOk('tar', ['-c', '-f', archive, '-C', folder.path, 'odd-tree'])
    expect(await runOk('tar', ['-t', '-v', '-f', archive])).toMatch(/ link to odd-tree\//)
    expect(await ingest('store', archive)).toMatchObject({ code: 0, stdout: digest })
  })

  test.each(['gzip', 'bzip2', 'xz', 'zstd'])(
    'compressed with %s, as its first bytes tell',
    async (program) => {
      const archive = join(folder.path, 'compressed')
      await runOk('tar', ['-c', `--${program}`, '-f', archive, '-C', folder.path, 'odd-tree'])
      expect(await ingest('store', archive)).toMatchObject({ code: 0, stdout: digest })
    },
  )

  test('says what is wrong: its name, the place, and what to do', async () => {
    const archive = join(folder.path, 'broken.tar')
    await writeFile(archive, 'no tar at all, though it goes on for a while. '.repeat(100))
    const failed = await ingest('store', archive)
    expect(failed).toMatchObject({ code: 64, stdout: '' })
    expect(failed.stderr).toMatch(/broken\.tar: not a valid tar archive: at byte 0: no header/)
    await runOk('tar', ['-c', '-f', archive, '-C', tree, '.'])
    expect((await ingest('store', archive)).stderr).toMatch(
      /broken\.tar: unexpected number of top level directory entries: .*; pack one directory/,
    )
  })

  test('shows nothing of one that breaks off', async () => {
    const state = join(folder.path, 'breaking')
    const archive = join(folder.path, 'cut.tar')
    await runOk('bash', ['-c', `tar -c -C "${folder.path}" odd-tree | head -c 1000000 > "${archive}"`])
    const failed = await ingest('breaking', archive)
    expect(failed).toMatchObject({ code: 64, stdout: '' })
    expect(failed.stderr).toMatch(/ends early, after 1000000 bytes/)
    const listed = await run(TVIX_STORE, ['path-info', '--all', ...localStoreFlags(state)])
    expect(listed).toMatchObject({ code: 0, stdout: '' })
  })
})

describe('castore ingest of a directory', () => {
  test('prints the digest and nothing else', async () => {
    expect(await ingest('store', tree)).toMatchObject({ code: 0, stdout: `${root.digest}\n` })
  })

  test('prints it as JSON', async () => {
    const { stdout } = await ingest('store', '--json', tree)
    expect(JSON.parse(stdout)).toEqual(root)
  })

  test('follows a symlink to a directory, since the root has no name', async () => {
    await symlink('tree', join(folder.path, 'link'))
    expect(await ingest('store', join(folder.path, 'link'))).toMatchObject({
      code: 0,
      stdout: `${root.digest}\n`,
    })
  })

  test('stores everything below it and no path', async () => {
    const state = join(folder.path, 'daemon')
    await mkdir(state)
    await using daemon = await startDaemon(state)
    const flags = remoteStoreFlags(daemon.address)
    const printed = await runOk(TVIX_STORE, ['castore', 'ingest', ...flags, tree])
    expect(printed).toBe(`${root.digest}\n`)
    expect(await runOk(TVIX_STORE, ['path-info', '--all', ...flags])).toBe('')
  })

  test('says what is wrong with what is not there, and creates no store for it', async () => {
    const failed = await ingest('no-store', join(folder.path, 'nothing'))
    expect(failed).toMatchObject({ code: 66, stdout: '' })
    expect(failed.stderr).toMatch(/unable to read .*nothing: ENOENT/)
  })

  test('refuses a fifo in it, by name', async () => {
    const odd = join(folder.path, 'odd')
    await mkdir(odd)
    await writeFile(join(odd, 'file'), 'file')
    await runOk('mkfifo', [join(odd, 'pipe')])
    const failed = await ingest('store', odd)
    expect(failed).toMatchObject({ code: 64, stdout: '' })
    expect(failed.stderr).toMatch(/unsupported file type at .*odd\/pipe: fifo/)
  })
})
