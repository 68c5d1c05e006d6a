/**
 * `npm run bench -- store [MiB]`: storing a real tree (made of this machine's /usr) beside `restic backup` and
 * `tar | zstd`, and reading from S3 behind 20 ms of latency beside one request at a time.
 */
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  type Dirent,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Digest } from '../../src/model/castore/digest.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { runOk, TVIX_STORE } from '../support/cli.ts'
import { s3Server } from '../support/cloud-servers.ts'
import { CLOUDS } from '../support/clouds.ts'
import { farComposition } from '../support/far-composition.ts'
import { startLatencyProxy } from '../support/latency-proxy.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { hasProgram } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'
import { builtTvixStore } from './mount/programs.ts'
import { measure } from './report.ts'

const SOURCE = '/usr'
const TREE_MIB = 1024
/** One file in so many changes. */
const CHANGED = 100
const LATENCY_MS = 20
const LARGE_BYTES = 128 * 1024 * 1024
/** Enough for a walk of some seconds, one request at a time. */
const DIRECTORIES_MAX = 1_000

export async function benchStore(): Promise<void> {
  const mebibytes = Number(process.argv[3] ?? TREE_MIB)
  const folder = mkdtempSync(join(tmpdir(), 'tvix-store-bench-store-'))
  try {
    if (mebibytes > 0) await benchIngest(folder, mebibytes)
    await benchFar(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** One line: what, how long, against whom, and whether the target is met. */
function printRow(work: string, seconds: number, note: string): void {
  console.log(`| ${work} | ${seconds.toFixed(2)} s | ${note} |`)
}

function printHeading(title: string): void {
  console.log(`\n${title}\n\n| work | time | |\n|---|---|---|`)
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'missed'
}

// — Ingest —

async function benchIngest(folder: string, mebibytes: number): Promise<void> {
  const tree = join(folder, 'tree')
  const bytes = copyTree(SOURCE, tree, mebibytes * 1024 * 1024)
  const files = filesOf(tree)
  printHeading(
    `Storing ${(bytes / 1e6).toFixed(0)} MB of ${SOURCE} in ${files.length} files (its pages in memory)`,
  )
  const rate = (seconds: number) => `${(bytes / seconds / 1e6).toFixed(0)} MB/s`
  await runOk('sh', ['-c', `tar c -C ${tree} . | cat > /dev/null`])
  const tar = () =>
    measure(async () => void (await runOk('sh', ['-c', `tar c -C ${tree} . | zstd -q > ${tree}.tar.zst`])))
  const restic = resticOf(folder)
  const store = join(folder, 'store')
  // What users run: the sources take twice as long to start.
  const [program = '', ...args] = builtTvixStore()
  const running = (command: readonly string[], flags: readonly string[], cache: string) =>
    measure(async () => {
      await runOk(program, [...args, ...command, ...flags, tree], { XDG_CACHE_HOME: join(folder, cache) })
    })
  // What restic does: contents and directories. Its store is another one, so that each stores all of it.
  const objects = `objectstore+file://${folder}/contents`
  const contents = [`--blob-service-addr=${objects}`, `--directory-service-addr=${objects}`]
  const ingest = () => running(['castore', 'ingest'], contents, 'cache-contents')
  const ours = () => running(['import'], storeFlags(`file://${store}`, folder), 'cache')
  const packed = () => running(['import'], packedFlags(join(folder, 'packed')), 'cache-packed')

  const first = {
    tar: await tar(),
    restic: await restic?.(tree),
    ingest: await ingest(),
    ours: await ours(),
    packed: await packed(),
  }
  printRow('`tar \\| zstd`', first.tar, rate(first.tar))
  if (first.restic === undefined) console.log('| `restic backup` | – | skipped: restic is not installed |')
  else printRow('`restic backup`', first.restic, rate(first.restic))
  const against = (seconds: number) =>
    first.restic === undefined
      ? ''
      : `; ${(first.restic / seconds).toFixed(2)} × restic's rate (target ≥ 1.0: ${verdict(first.restic >= seconds)})`
  for (const [work, seconds] of [
    ['`castore ingest`', first.ingest],
    ['`import`', first.ours],
  ] as const)
    printRow(
      work,
      seconds,
      `${rate(seconds)}, ${(first.tar / seconds).toFixed(2)} × the rate of tar${against(seconds)}`,
    )

  printRow(
    '`import` into `packs:`',
    first.packed,
    `${rate(first.packed)}, ${(first.ours / first.packed).toFixed(2)} × the rate of files`,
  )

  const changed = files.filter((_, index) => index % CHANGED === 0)
  for (const [index, path] of changed.entries()) appendFileSync(path, pseudoRandom(1_000, index + 1))
  const again = { restic: await restic?.(tree), ingest: await ingest(), ours: await ours() }
  if (again.restic !== undefined)
    printRow('`restic backup`, 1 % changed', again.restic, share(again.restic, first.restic!))
  printRow(
    '`castore ingest`, 1 % changed',
    again.ingest,
    `${share(again.ingest, first.ingest)} (target ≤ 10 %: ${verdict(again.ingest <= first.ingest / 10)})`,
  )
  printRow(
    '`import`, 1 % changed',
    again.ours,
    `${share(again.ours, first.ours)}, with SHA-256 of the whole NAR`,
  )
}

function share(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} % of the first`
}

function resticOf(folder: string): ((tree: string) => Promise<number>) | undefined {
  if (!hasProgram('restic')) return undefined
  const env = {
    RESTIC_PASSWORD: 'bench',
    RESTIC_REPOSITORY: join(folder, 'restic'),
    RESTIC_CACHE_DIR: join(folder, 'restic-cache'),
  }
  const ready = runOk('restic', ['init', '--quiet'], env)
  return async (tree) => {
    await ready
    return await measure(async () => void (await runOk('restic', ['backup', '--quiet', tree], env)))
  }
}

function storeFlags(objects: string, folder: string): string[] {
  return [
    `--blob-service-addr=objectstore+${objects}`,
    `--directory-service-addr=objectstore+${objects}`,
    `--path-info-service-addr=lmdb://${folder}/pathinfo.lmdb`,
  ]
}

function packedFlags(folder: string): string[] {
  return [
    `--blob-service-addr=packs://${folder}/blobs`,
    `--directory-service-addr=lmdb://${folder}/directories.lmdb`,
    `--path-info-service-addr=lmdb://${folder}/pathinfo.lmdb`,
  ]
}

/** Files and symlinks, in the order of their names, until there are `bytesMax` bytes. */
function copyTree(from: string, to: string, bytesMax: number): number {
  let bytes = 0
  const copy = (source: string, target: string) => {
    mkdirSync(target)
    for (const entry of entriesOf(source)) {
      if (bytes >= bytesMax) return
      const [path, copied] = [join(source, entry.name), join(target, entry.name)]
      if (entry.isDirectory()) copy(path, copied)
      else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(path), copied)
      else if (entry.isFile()) {
        copyFileSync(path, copied)
        bytes += lstatSync(path).size
      }
    }
  }
  copy(from, to)
  return bytes
}

function entriesOf(folder: string): Dirent[] {
  return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Not by `readdir` of Node with `recursive`, which follows symlinks: /usr/bin has one to itself, so each file came 40 times. */
function filesOf(folder: string): string[] {
  return entriesOf(folder).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return filesOf(path)
    return entry.isFile() ? [path] : []
  })
}

// — A far store —

async function benchFar(folder: string): Promise<void> {
  const startable = await s3Server()
  const reason = whyNoMounts() ?? ('missing' in startable ? startable.missing : undefined)
  if (reason || 'missing' in startable) {
    console.log(`\nReading from S3: skipped: ${reason}`)
    return
  }
  await using server = await startable.start()
  await using proxy = await startLatencyProxy(server.port, LATENCY_MS)
  await using namespace = await MountNamespace.create()
  const large = join(folder, 'large')
  const skeleton = join(folder, 'skeleton')
  makeLarge(large)
  const directories = makeSkeleton(SOURCE, skeleton)
  const near = storeFlags(CLOUDS.s3.url(server.port, 'store'), join(folder, 'far'))
  const names: string[] = []
  for (const path of [large, skeleton])
    names.push(basename((await runOk(TVIX_STORE, ['import', ...near, path])).trim()))
  const far = storeFlags(CLOUDS.s3.url(proxy.port, 'store'), join(folder, 'far'))

  printHeading(
    `Reading from S3, ${LATENCY_MS} ms away: a file of ${LARGE_BYTES / 2 ** 20} MiB, and ${directories} directories`,
  )
  const one = await oneAtATime(far)
  const rate = (seconds: number) => `${(LARGE_BYTES / seconds / 1e6).toFixed(0)} MB/s`
  printRow('the file, one request at a time', one.file, rate(one.file))
  const cold = await readMounted(namespace, 'cold', far, names, () => proxy.requests)
  printRow('the file, cold mount', cold.file, `${rate(cold.file)}, ${target(one.file, cold.file)}`)
  printRow('the directories, one request at a time', one.walk, '')
  printRow(
    '`find`, cold mount',
    cold.walk,
    `${target(one.walk, cold.walk)}; ${cold.requests} requests in all`,
  )

  const cached = writeCached(folder, proxy.port)
  await readMounted(namespace, 'fill', cached, names, () => proxy.requests)
  const hits = await readMounted(namespace, 'hits', cached, names, () => proxy.requests)
  printRow('the file, from `--cache-dir`, another mount', hits.file, rate(hits.file))
  printRow(
    '`find`, from a near LMDB',
    hits.walk,
    `${hits.requests} requests for both (target 0: ${verdict(hits.requests === 0)})`,
  )
}

function target(baseline: number, ours: number): string {
  const ratio = baseline / ours
  return `${ratio.toFixed(1)} × as fast (target ≥ 10: ${verdict(ratio >= 10)})`
}

interface FarTimes {
  readonly file: number
  readonly walk: number
}

/** A client that asks for the next thing when it has the last, over one connection that is open. */
async function oneAtATime(flags: readonly string[]): Promise<FarTimes> {
  const [blobs, directories, pathInfos] = flags.map((flag) => flag.slice(flag.indexOf('=') + 1)) as [
    string,
    string,
    string,
  ]
  await using stores = await openStores({ blobs, directories, pathInfos })
  let file = 0
  let walk = 0
  for await (const { node } of stores.pathInfos.list()) {
    if (node.kind === 'file')
      file = await measure(async () => {
        for (const { digest } of (await stores.blobs.chunks(node.digest))!)
          for await (const _ of (await stores.blobs.openRead(digest))!);
      })
    else if (node.kind === 'directory')
      walk = await measure(async () => {
        const queue: Digest[] = [node.digest]
        const met = new Set<string>()
        for (const digest of queue) {
          if (met.has(digest.key)) continue
          met.add(digest.key)
          queue.push(...[...(await stores.directories.get(digest))!.children()].map((child) => child.digest))
        }
      })
  }
  return { file, walk }
}

/** Reads with a mount that knows nothing yet. */
async function readMounted(
  namespace: MountNamespace,
  name: string,
  flags: readonly string[],
  [large, skeleton]: readonly string[],
  requests: () => number,
): Promise<FarTimes & { readonly requests: number }> {
  const place = await namespace.directory(name)
  // What users run, as above.
  const command = [...builtTvixStore(), 'mount', '--stats=json', ...flags, place]
  await using mount = await StoreMount.startAs(namespace, place, command)
  const before = requests()
  const inside = async (...command: [string, ...string[]]) => {
    const { status, stderr } = await namespace.run(...command)
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}\n${mount.log}`)
  }
  const file = await measure(() =>
    inside('dd', `if=${mount.target}/${large}`, 'of=/dev/null', 'bs=1M', 'status=none'),
  )
  const walk = await measure(() => inside('find', `${mount.target}/${skeleton}`, '-size', '+1000000G'))
  const asked = requests() - before
  await mount.stop()
  return { file, walk, requests: asked }
}

function writeCached(folder: string, port: number): string[] {
  const bucket = `objectstore+${CLOUDS.s3.url(port, 'store')}`
  const file = join(folder, 'cached.toml')
  writeFileSync(file, farComposition(folder, bucket, `${folder}/far/pathinfo.lmdb`))
  return [`--store-composition=${file}`]
}

/** Noise, so that no chunk occurs twice. */
function makeLarge(path: string): void {
  const file = openSync(path, 'w')
  for (let piece = 0; piece < LARGE_BYTES / 2 ** 20; piece++)
    writeSync(file, pseudoRandom(2 ** 20, piece + 1))
  closeSync(file)
}

/** The directories of a real tree, with the names of their files and nothing in them; how many there are. */
function makeSkeleton(from: string, to: string): number {
  let count = 0
  const copy = (source: string, copied: string) => {
    count++
    mkdirSync(copied)
    for (const entry of entriesOf(source)) {
      if (entry.isDirectory() && count < DIRECTORIES_MAX)
        copy(join(source, entry.name), join(copied, entry.name))
      else if (entry.isFile()) writeFileSync(join(copied, entry.name), '')
    }
    // No two directories are the same, or fewer would have to be fetched.
    writeFileSync(join(copied, createHash('sha1').update(source).digest('hex')), '')
  }
  copy(from, to)
  return count
}
