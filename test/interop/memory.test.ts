/**
 * Memory does not grow with what passes through: importing and reading a large file and a large tree, and taking a tar of
 * them from a pipe, keeps every process below 512 MiB. The sizes of continuous integration catch a blob or a tree that is held as a whole;
 * `--full` takes the sizes that were promised.
 */
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PROCESS_BYTES_MAX } from '../../src/support/limits.ts'
import {
  type Daemon,
  localStoreFlags,
  remoteStoreFlags,
  runOk,
  startDaemon,
  TVIX_STORE,
} from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { FULL } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'
import { tempDir } from '../support/temp-dir.ts'

const GiB = 2 ** 30
const LARGE_FILE_BYTES = FULL ? 5 * GiB : 1 * GiB
const FILES = FULL ? 100_000 : 4_000

const reason = whyNoMounts()

describe.skipIf(reason)('no process needs more than 512 MiB', { timeout: 600_000 }, () => {
  let folder: string
  let namespace: MountNamespace
  let daemon: Daemon

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-memory-'))
    await mkdir(join(folder, 'state'))
    namespace = await MountNamespace.create()
    daemon = await startDaemon(join(folder, 'state'))
  })
  afterEach(async () => {
    await daemon[Symbol.asyncDispose]()
    await namespace[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** Imports `source` through the daemon, mounts it, runs `read` on it, and looks at the peaks of all three. */
  async function pass(source: string, read: (mounted: string) => Promise<void>): Promise<void> {
    const flags = remoteStoreFlags(daemon.address)
    const imported = await measured([TVIX_STORE, 'import', ...flags, source])
    await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
    await read(join(mount.target, basename(imported.said.trim())))
    expect(imported.peakBytes).toBeLessThan(PROCESS_BYTES_MAX)
    expect(peakBytes(mount.pid)).toBeLessThan(PROCESS_BYTES_MAX)
    expect(peakBytes(daemon.pid)).toBeLessThan(PROCESS_BYTES_MAX)
  }

  test(`a file of ${LARGE_FILE_BYTES / GiB} GiB`, async () => {
    const source = join(folder, 'large')
    await makeLargeFile(source)
    await pass(source, async (mounted) => {
      expect((await namespace.run('cmp', source, mounted)).status).toBe(0)
    })
  })

  test(`a tree of ${FILES} files`, async () => {
    const source = join(folder, 'tree')
    await makeTree(source)
    await pass(source, async (mounted) => {
      expect((await namespace.run('diff', '-r', source, mounted)).status).toBe(0)
    })
  })
})

describe('nor does castore ingest of a tar from a pipe', { timeout: 600_000 }, () => {
  test.each([
    [`a file of ${LARGE_FILE_BYTES / GiB} GiB`, '--format=gnu', makeLargeFile],
    [`a file of ${LARGE_FILE_BYTES / GiB} GiB that is a hole`, '--format=pax --sparse', makeLargeFile],
    [`${FILES} files`, '--format=gnu', makeTree],
  ])('%s, tar %s', async (_title, format, make) => {
    await using dir = await tempDir()
    await mkdir(join(dir.path, 'tree'))
    await make(join(dir.path, 'tree', 'large'))
    const flags = localStoreFlags(join(dir.path, 'store')).join(' ')
    const script = `set -o pipefail; tar -c ${format} -C ${dir.path} tree | ${TVIX_STORE} castore ingest ${flags} -`
    const { said, peakBytes } = await measured(['bash', '-c', script])
    expect(said).toBe(
      await runOk(TVIX_STORE, ['castore', 'ingest', ...flags.split(' '), join(dir.path, 'tree')]),
    )
    expect(peakBytes).toBeLessThan(PROCESS_BYTES_MAX)
  })
})

async function makeLargeFile(path: string): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(LARGE_FILE_BYTES)
  await file.write('something', LARGE_FILE_BYTES / 2)
  await file.close()
}

async function makeTree(path: string): Promise<void> {
  for (let d = 0; d < FILES / 100; d++) {
    await mkdir(join(path, `d${d}`), { recursive: true })
    for (let f = 0; f < 100; f++) await writeFile(join(path, `d${d}/f${f}`), `file ${d}/${f}\n`.repeat(40))
  }
}

/** The most memory that a living process ever had (proc(5), VmHWM). */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]) * 1024
}

const MEASURED = `
import json, resource, subprocess, sys
out = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
print(json.dumps({'said': out, 'peakBytes': resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}))`

/** What a program printed, and the most memory that it or one of those it started ever had. */
async function measured(command: readonly string[]): Promise<{ said: string; peakBytes: number }> {
  return JSON.parse(await runOk('python3', ['-c', MEASURED, ...command]))
}
