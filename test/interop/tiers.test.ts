/**
 * A mount over a composition with near sides on this disk: what was read once is there for other mounts and after
 * the daemon is gone for good, and `config show` tells how it is put together.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWriteQueue } from '../../src/services/write-queue.ts'
import {
  type Daemon,
  importedName,
  importedPath,
  remoteStoreFlags,
  run,
  runOk,
  startDaemon,
  TVIX_STORE,
  until,
} from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()
const title = reason ? `mounts over tiers (skipped: ${reason})` : 'mounts over tiers'

function composition(folder: string, daemon: string): string {
  return `
[blobservices.root]
type = "cache-dir"
path = "${folder}/cache"
far = "&daemon"
[blobservices.daemon]
type = "grpc"
url = "${daemon}"

[directoryservices.root]
type = "cache"
near = "lmdb://${folder}/near.lmdb"
far = "${daemon}"

[pathinfoservices.root]
type = "cache"
near = "lmdb://${folder}/near.lmdb"
far = "${daemon}"
`
}

describe.skipIf(reason)(title, () => {
  let folder: string
  let source: string
  let file: string
  let daemon: Daemon
  let namespace: MountNamespace
  let name: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-tiers-'))
    source = join(folder, 'source')
    file = join(folder, 'store.toml')
    makeSourceTree(source)
    daemon = await startDaemon(folder)
    await writeFile(file, composition(folder, daemon.address))
    name = await importedName(remoteStoreFlags(daemon.address), source)
    namespace = await MountNamespace.create()
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await daemon?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function expectSame(mount: StoreMount): Promise<void> {
    const { status, stdout, stderr } = await namespace.run(
      'diff',
      '-r',
      '--no-dereference',
      source,
      join(mount.target, name),
    )
    expect(`${stdout}${stderr}`).toBe('')
    expect(status).toBe(0)
  }

  async function startMount(target: string, ...flags: string[]): Promise<StoreMount> {
    return await StoreMount.start(namespace, await namespace.directory(target), flags)
  }

  test('two at a time share a cache folder, and outlive the daemon', async () => {
    await using first = await startMount('first', `--store-composition=${file}`)
    await using second = await startMount('second', `--experimental-store-composition=${file}`)
    await Promise.all([expectSame(first), expectSame(second)])
    await daemon.stop('SIGKILL')
    await using third = await startMount('third', `--store-composition=${file}`)
    for (const mount of [first, second, third]) await expectSame(mount)
    // What nobody has read is an error, and no absence.
    const { stderr } = await namespace.run('stat', join(third.target, `${'1'.repeat(32)}-unknown`))
    expect(stderr).toContain('Input/output error')
  })

  test('config show tells the graph and where each value comes from', async () => {
    const text = await runOk(TVIX_STORE, ['config', 'show', '--store-composition', file])
    expect(text).toContain(`cache-dir  blobservices.root  (${file}:2)`)
    expect(text).toContain(`path = ${folder}/cache  (${file}:4)`)
    const json = JSON.parse(
      await runOk(TVIX_STORE, ['config', 'show', '--json'], { STORE_COMPOSITION: file }),
    )
    expect(json.directories.references.map((each: { field: string }) => each.field)).toEqual(['near', 'far'])
    const svg = await runOk(TVIX_STORE, ['config', 'show', '--svg', '--store-composition', file])
    expect(svg).toMatch(/^<svg [^>]*>[\s\S]*<\/svg>\n$/)
  })

  test('an import that writes behind ends when far has it', async () => {
    const behind = join(folder, 'behind.toml')
    const layer = (role: string, near: string, far: string) =>
      `[${role}.root]\ntype = "write-back"\nnear = "${near}"\nfar = "${far}"\nqueue = "${folder}/queue.lmdb"\n`
    const objects = (name: string) => `objectstore+file://${folder}/${name}`
    await writeFile(
      behind,
      layer('blobservices', objects('behind-near'), objects('behind-far')) +
        layer('directoryservices', objects('behind-near'), objects('behind-far')) +
        layer('pathinfoservices', `lmdb://${folder}/behind-near.lmdb`, `lmdb://${folder}/behind-far.lmdb`),
    )
    const imported = await run(TVIX_STORE, ['import', '--store-composition', behind, source])
    expect(imported.code).toBe(0)
    const far = [
      `--blob-service-addr=${objects('behind-far')}`,
      `--directory-service-addr=${objects('behind-far')}`,
      `--path-info-service-addr=lmdb://${folder}/behind-far.lmdb`,
    ]
    // Which compares the hash of all that it read.
    await runOk(TVIX_STORE, ['export-nar', ...far, '-o', join(folder, 'behind.nar'), imported.stdout.trim()])
  })

  test('an import that far refuses fails, config show tells why, and it goes when far takes it', async () => {
    const state = join(folder, 'refusing')
    await mkdir(state)
    const file = join(folder, 'refused.toml')
    const layer = (role: string, near: string, socket: string) =>
      `[${role}.root]\ntype = "write-back"\nnear = "${near}"\nfar = "grpc+unix://${state}/${socket}"\nqueue = "${state}/queue.lmdb"\n`
    const writeTo = (socket: string) =>
      writeFile(
        file,
        layer('blobservices', `objectstore+file://${state}/near`, socket) +
          layer('directoryservices', `lmdb://${state}/near.lmdb`, socket) +
          layer('pathinfoservices', `lmdb://${state}/near.lmdb`, socket),
      )
    await writeTo('closed.socket')
    const show = async () => {
      const text = await runOk(TVIX_STORE, ['config', 'show', '--json', '--store-composition', file])
      return JSON.parse(text).queues
    }
    expect(await show()).toEqual([{ path: `${state}/queue.lmdb`, waiting: 0, refused: 0, examples: [] }])
    {
      const closed = `${state}/closed.socket?role=read-only`
      await using _ = await startDaemon(state, '--listen-address', closed)
      const refused = await run(TVIX_STORE, ['import', '--store-composition', file, source])
      expect(refused.code).toBe(77)
      expect(refused.stderr).toContain('uploads are kept that the far side refuses')
      const [queue] = await show()
      expect(queue).toMatchObject({ waiting: 0, refused: expect.any(Number) })
      expect(queue.examples[0].reason).toContain('which is read-only')
      // Said again by whoever asks for it again.
      const again = await run(TVIX_STORE, ['import', '--store-composition', file, source])
      expect(again.code).toBe(73)
    }
    await using _ = await startDaemon(state)
    await writeTo('daemon.socket')
    await runOk(TVIX_STORE, ['import', '--store-composition', file, source])
    expect(await show()).toMatchObject([{ waiting: 0, refused: 0 }])
  })

  test('who only reads a store that is written behind is not kept out by who writes', async () => {
    const state = join(folder, 'shared')
    await mkdir(state)
    const file = join(folder, 'shared.toml')
    const layer = (role: string, near: string, far: string) =>
      `[${role}.root]\ntype = "write-back"\nnear = "${near}"\nfar = "${far}"\nqueue = "${state}/queue.lmdb"\n`
    await writeFile(
      file,
      layer('blobservices', `objectstore+file://${state}/near`, 'memory:') +
        layer('directoryservices', `lmdb://${state}/near.lmdb`, 'memory:') +
        layer('pathinfoservices', `lmdb://${state}/near.lmdb`, 'memory:'),
    )
    const flags = ['--store-composition', file]
    const path = await importedPath(flags, source)
    // Has the queue, as a daemon over this file would.
    await using _ = await openWriteQueue(join(state, 'queue.lmdb'))
    await runOk(TVIX_STORE, ['ls', ...flags, path])
    await using mount = await startMount('shared', '--list-root', ...flags)
    mount.kill('SIGHUP')
    await until(
      () => mount.log.includes('the stores were opened anew') || mount.log.includes('stay what they were'),
    )
    expect(mount.log).not.toContain('stay what they were')
    await expectSame(mount)
    const { code, stderr } = await run(TVIX_STORE, ['import', ...flags, source])
    expect([code, stderr]).toEqual([73, expect.stringContaining('queue.lmdb is in use by another process')])
  })

  test('a mistake in the file is told with its line, and the exit code of bad input', async () => {
    const broken = join(folder, 'broken.toml')
    await writeFile(broken, '[blobservices.root]\ntype = "memory"\ncolour = "red"\n')
    const { code, stderr } = await run(TVIX_STORE, ['import', '--store-composition', broken, source])
    expect(code).toBe(64)
    expect(stderr).toContain(`${broken}:3: blobservices.root has the unknown field colour`)
  })
})
