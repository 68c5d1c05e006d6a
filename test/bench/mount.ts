/**
 * The mount against its own source on the local disk. The mount is a process of its own, over a store in files and
 * LMDB that it opens itself; this process is the one that walks and reads.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
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
import { measure, measureRepeated, printTable, type Row } from './report.ts'

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
    await using _mount = await mount(target, addresses)
    const rows = await compare(source, join(target, basename(storePath)))
    printTable(
      `Mount of ${DIRECTORIES * FILES_PER_DIRECTORY} small files and one of 256 MiB`,
      'source on disk',
      rows,
    )
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
