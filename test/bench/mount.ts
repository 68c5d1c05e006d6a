/**
 * The mount against its own source on the local disk. The mount is a process of its own, over a store in files and
 * LMDB that it opens itself; this process is the one that walks and reads.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { measure, measureRepeated, median, printTable, type Row } from './report.ts'

const DIRECTORIES = 200
const FILES_PER_DIRECTORY = 100
const LARGE_BYTES = 256 * 1024 * 1024
const RANDOM_READS = 100_000
const TVIX_STORE = join(import.meta.dirname, '../../scripts/tvix-store')

export async function benchMount(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'tvix-store-bench-'))
  const source = join(root, 'tree')
  const target = join(root, 'mnt')
  mkdirSync(target)
  const addresses = storeAddresses(root)
  try {
    makeTree(source)
    const imported = await measure(() => void run(TVIX_STORE, ['import', ...addresses, source]))
    const storePath = run(TVIX_STORE, ['import', ...addresses, source]).trim()
    const rows: Row[] = []
    {
      await using _mount = await mount(target, addresses)
      rows.push(...(await compare(source, join(target, basename(storePath)))))
    }
    const title = `Mount of ${DIRECTORIES * FILES_PER_DIRECTORY} small files and one of 256 MiB`
    printTable(title, 'source on disk', rows)
    const place = { root, source, target, mounted: join(target, basename(storePath)), addresses }
    printTable('With a new mount for each', 'source on disk', await compareFresh(place))
    console.log(`\nimporting it took ${imported.toFixed(1)} s`)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function compare(source: string, mounted: string): Promise<Row[]> {
  const rows: Row[] = []
  const row = async (work: string, one: (root: string) => Promise<number>, note?: (s: number) => string) => {
    const baseline = await one(source)
    const ours = await one(mounted)
    rows.push({ work, baseline, ours, ...(note && { note: note(ours) }) })
  }
  dropInodes()
  await row('first `find -size`', (path) => measure(() => find(path)))
  await row('second `find -size`', (path) => measureRepeated(9, () => find(path)))
  const gigabytes = (s: number) => `${(LARGE_BYTES / s / 1e9).toFixed(1)} GB/s`
  await row('sequential read, first', (path) => measure(() => readThrough(join(path, 'large'))), gigabytes)
  await row(
    'sequential read, again',
    (path) => measureRepeated(3, () => readThrough(join(path, 'large'))),
    gigabytes,
  )
  const perRead = (s: number) => `${((s / RANDOM_READS) * 1e6).toFixed(2)} µs each`
  await row(
    `${RANDOM_READS} random 4 KiB reads`,
    (path) => measure(() => readAtRandom(join(path, 'large'))),
    perRead,
  )
  const perFile = (s: number) => `${((s / (DIRECTORIES * FILES_PER_DIRECTORY)) * 1e6).toFixed(1)} µs a file`
  await row('open and read all small files, first', (path) => measure(() => readSmall(path)), perFile)
  await row(
    'open and read all small files, again',
    (path) => measureRepeated(3, () => readSmall(path)),
    perFile,
  )
  return rows
}

interface Place {
  readonly root: string
  readonly source: string
  readonly target: string
  readonly mounted: string
  readonly addresses: string[]
}

const FRESH_RUNS = 5

/** What only a mount can show that the kernel knows nothing of yet: medians. */
async function compareFresh({ root, source, target, mounted, addresses }: Place): Promise<Row[]> {
  const fresh = async (work: () => void, ...flags: string[]) => {
    const times: number[] = []
    for (let i = 0; i < FRESH_RUNS; i++) {
      await using _mount = await mount(target, [...addresses, ...flags])
      times.push(await measure(work))
    }
    return median(times)
  }
  const listAndRead = (path: string) => {
    find(path)
    readSmall(path)
  }
  const cacheFlags = ['--cache-dir', join(root, 'cache'), '--passthrough']
  const archive = join(root, 'small.tar')
  execFileSync('tar', ['-c', '-C', source, '-f', archive, '--exclude', 'large', '.'])
  await fresh(() => readThrough(join(mounted, 'large')), ...cacheFlags)
  const found = {
    work: 'first `find -size`',
    baseline: await afterDropping(() => find(source)),
    ours: await fresh(() => find(mounted)),
  }
  warm(root)
  return [
    found,
    {
      work: 'read small files by name, never listed',
      baseline: await measureRepeated(FRESH_RUNS, () => readSmall(source)),
      ours: await fresh(() => readSmall(mounted)),
    },
    {
      work: 'sequential read, first',
      baseline: await measureRepeated(FRESH_RUNS, () => readThrough(join(source, 'large'))),
      ours: await fresh(() => readThrough(join(mounted, 'large'))),
    },
    {
      work: 'list, then read all small files',
      baseline: await measureRepeated(FRESH_RUNS, () => listAndRead(source)),
      ours: await fresh(() => listAndRead(mounted)),
    },
    {
      work: '`tar c` of the small files, against `tar x`',
      baseline: await measureRepeated(3, () => unpack(archive, join(root, 'unpacked'))),
      ours: await fresh(() => pack(mounted)),
    },
    {
      work: 'sequential read, first, `--passthrough`',
      baseline: await measureRepeated(3, () => readThrough(join(source, 'large'))),
      ours: await fresh(() => readThrough(join(mounted, 'large')), ...cacheFlags),
    },
    {
      work: 'until the mount serves, against `node -e 0`',
      baseline: await measureRepeated(FRESH_RUNS, () => void run(process.execPath, ['-e', '0'])),
      ours: await untilReady(target, addresses),
      note: 'as `npm run build` makes it',
    },
  ]
}

async function afterDropping(work: () => void): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 3; i++) {
    dropInodes()
    times.push(await measure(work))
  }
  return median(times)
}

/** Seconds from starting the built program to its word that it serves: the median. */
async function untilReady(target: string, addresses: string[]): Promise<number> {
  run('node', ['scripts/build.mjs'])
  const times: number[] = []
  for (let i = 0; i < FRESH_RUNS; i++) {
    const start = performance.now()
    const child = spawn(
      process.execPath,
      ['--max-semi-space-size=8', 'dist/cli/main.js', 'mount', '--ready-fd=3', ...addresses, target],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] },
    )
    const ended = once(child, 'exit')
    await Promise.race([
      once(child.stdio[3]!, 'data'),
      ended.then(() => Promise.reject(new Error('no mount'))),
    ])
    times.push((performance.now() - start) / 1000)
    child.kill('SIGTERM')
    await ended
  }
  return median(times)
}

/** Dropping inodes drops the contents of files that nobody has open, too: the store is read again, as it was written. */
function warm(root: string): void {
  execFileSync('sh', ['-c', 'find "$0" -type f -print0 | xargs -0 cat >/dev/null', root])
}

/** Through a pipe: tar reads nothing when it writes to /dev/null. */
function pack(path: string): void {
  execFileSync('sh', ['-c', 'tar -c -C "$0" --exclude large -f - . | cat >/dev/null', path])
}

function unpack(archive: string, target: string): void {
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target)
  execFileSync('tar', ['-x', '-C', target, '-f', archive])
}

function makeTree(path: string): void {
  mkdirSync(path)
  for (let d = 0; d < DIRECTORIES; d++) {
    mkdirSync(join(path, `d${d}`))
    for (let f = 0; f < FILES_PER_DIRECTORY; f++) writeFileSync(smallFile(path, d, f), randomBytes(2048))
  }
  const large = openSync(join(path, 'large'), 'w')
  for (let written = 0; written < LARGE_BYTES; written += 1024 * 1024)
    writeFileSync(large, randomBytes(1024 * 1024))
  closeSync(large)
}

function smallFile(path: string, directory: number, file: number): string {
  return `${path}/d${directory}/f${file}`
}

function find(path: string): void {
  execFileSync('find', [path, '-size', '+1000000G'])
}

function readThrough(path: string): void {
  const buffer = Buffer.allocUnsafe(1024 * 1024)
  const file = openSync(path, 'r')
  while (readSync(file, buffer) > 0);
  closeSync(file)
}

function readAtRandom(path: string): void {
  const buffer = Buffer.allocUnsafe(4096)
  const file = openSync(path, 'r')
  const pages = statSync(path).size / 4096
  let seed = 1
  for (let i = 0; i < RANDOM_READS; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    readSync(file, buffer, 0, 4096, (seed % pages) * 4096)
  }
  closeSync(file)
}

function readSmall(path: string): void {
  const buffer = Buffer.allocUnsafe(4096)
  for (let d = 0; d < DIRECTORIES; d++)
    for (let f = 0; f < FILES_PER_DIRECTORY; f++) {
      const file = openSync(smallFile(path, d, f), 'r')
      readSync(file, buffer)
      closeSync(file)
    }
}

/** Makes the kernel forget names and inodes (not contents), so that the first walk of the source is a first one. */
function dropInodes(): void {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '2')
  } catch {
    console.error('not root: the first walk of the source finds its inodes cached')
  }
}

function storeAddresses(root: string): string[] {
  return [
    `--blob-service-addr=objectstore+file://${root}/blobs`,
    `--directory-service-addr=lmdb://${root}/directories.lmdb`,
    `--path-info-service-addr=lmdb://${root}/pathinfo.lmdb`,
  ]
}

async function mount(target: string, addresses: string[]): Promise<AsyncDisposable> {
  const child = spawn(TVIX_STORE, ['mount', ...addresses, target], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  while (!readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${target} `)) {
    if (child.exitCode !== null) throw new Error('the mount did not come up')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

function run(command: string, args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
