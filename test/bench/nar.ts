/**
 * NARs against Nix, in one run: rendering, ingesting, downloading through the bridge, and what a second version of a tree
 * costs. The tree is real: what this machine has below /usr, until it is large enough.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Digest } from '../../src/model/castore/digest.ts'
import { Chunker, ChunkSplitter } from '../../src/model/castore/fastcdc.ts'
import { NarParser } from '../../src/model/nar/parser.ts'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import { narStorePath } from '../../src/model/nix/store-path-calculation.ts'
import { narUrl } from '../../src/servers/http/nar-url.ts'
import { openStores, type Stores } from '../../src/services/composition/open-stores.ts'
import { READ_BUFFER_BYTES } from '../../src/support/limits.ts'
import { compress } from '../../src/support/zstd.ts'
import { ingestNar } from '../../src/transfer/ingest-nar.ts'
import { ingestTree } from '../../src/transfer/ingest-tree.ts'
import { narRooms, renderNar } from '../../src/transfer/render-nar.ts'
import { localStoreFlags, TVIX_STORE } from '../support/cli.ts'
import { collect } from '../support/collect.ts'
import { builtTvixStore } from './mount/programs.ts'
import { measure, printTable, type Row } from './report.ts'

/** `npm run bench -- nar 100` for a smaller one, in MiB. */
const TREE_BYTES = Number(process.argv[3] ?? 500) * 1024 * 1024
/** Of one folder below /usr: a tree of many packages is the usual case, and one of a single huge file is not. */
const PART_BYTES_MAX = TREE_BYTES / 5
const ROUNDS = 3
/** Of rendering and of downloads: who renders is a process that runs for long, and V8 compiles during the first ones. */
const WARM_ROUNDS = 10
/** Every so many files are changed for the second version: 5 %. */
const CHANGED_EVERY = 20
const CHANGED_BYTES = 64

export async function benchNar(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tvix-store-bench-'))
  try {
    await run(folder)
  } finally {
    // Nix makes what it stores read-only.
    execFileSync('chmod', ['-R', 'u+w', folder])
    await rm(folder, { recursive: true, force: true })
  }
}

async function run(folder: string): Promise<void> {
  const tree = join(folder, 'tree')
  await makeTree(tree)
  const nar = join(folder, 'tree.nar')
  shell(`nix-store --dump '${tree}' > '${nar}'`)
  const narBytes = (await stat(nar)).size
  const count = Number(execFileSync('sh', ['-c', `find '${tree}' -type f | wc -l`], { encoding: 'utf8' }))
  console.log(`a tree of ${count} files, NAR of ${mb(narBytes)}`)
  const rows: Row[] = []
  const [files, packs] = [
    await ingesting(nar, narBytes, folder, 'files'),
    await ingesting(nar, narBytes, folder, 'packs'),
  ]
  const kept = [
    { blobs: 'files', store: files.stored },
    { blobs: 'packs', store: packs.stored },
  ] as const
  rows.push(files.row, packs.row)
  for (const { blobs, store } of kept) {
    await using stores = await open(store, blobs)
    const node = await ingestTree(stores, tree, { sizeFormula: 'rust' })
    rows.push(await rendering(stores, node, tree, narBytes, blobs))
    await storePath(stores, node, nar, narBytes)
  }
  printTable('NAR', 'Nix 2.8', rows)
  await costs(nar)
  for (const { blobs, store } of kept) await download(folder, store, narBytes, blobs)
  await secondVersion(folder, files.stored, tree)
}

async function makeTree(tree: string): Promise<void> {
  await mkdir(tree)
  let bytes = 0
  for (let copy = 0; bytes < TREE_BYTES; copy++) {
    const before = bytes
    for (const parent of ['/usr/share', '/usr/lib', '/usr/lib/x86_64-linux-gnu'])
      for (const name of (await readdir(parent)).sort()) {
        const source = join(parent, name)
        const size = Number(execFileSync('du', ['-sb', source], { encoding: 'utf8' }).split('\t')[0])
        if (size > PART_BYTES_MAX || bytes >= TREE_BYTES) continue
        execFileSync('cp', ['-a', source, join(tree, `${copy}-${parent.replaceAll('/', '_')}-${name}`)])
        bytes += size
      }
    if (bytes === before) throw new Error('there is nothing below /usr to make a tree of')
  }
}

/** Where blobs are kept: a file for each chunk, or many in a file. */
type Kept = 'files' | 'packs'

function open(folder: string, kept: Kept): Promise<Stores> {
  const [blobs = '', directories = '', pathInfos = ''] = localStoreFlags(folder, kept).map((flag) =>
    flag.slice(flag.indexOf('=') + 1),
  )
  return openStores({ blobs, directories, pathInfos })
}

async function rendering(
  stores: Stores,
  node: Parameters<typeof renderNar>[1],
  tree: string,
  narBytes: number,
  kept: Kept,
): Promise<Row> {
  const render = async () => {
    let bytes = 0
    for await (const piece of renderNar(stores, node)) {
      bytes += piece.length
      narRooms.giveBack(piece)
    }
    if (bytes !== narBytes) throw new Error(`rendered ${bytes} bytes of ${narBytes}`)
  }
  const best = await turns(() => shell(`nix-store --dump '${tree}' > /dev/null`), render, WARM_ROUNDS)
  return { work: `render a NAR of ${mb(narBytes)} from ${kept}`, ...best, note: rates(narBytes, best) }
}

/**
 * Each round goes into folders of its own, and they are removed when all is done: ext4 is slow to make files where many
 * have just been deleted.
 */
async function ingesting(
  nar: string,
  narBytes: number,
  folder: string,
  kept: Kept,
): Promise<{ row: Row; stored: string }> {
  let round = 0
  let stored = ''
  const nix = () => {
    const home = join(folder, `nix-${kept}-${round++}`)
    const env = [
      `NIX_STORE_DIR=${home}/store`,
      `NIX_STATE_DIR=${home}/var`,
      `NIX_LOG_DIR=${home}/log`,
      `NIX_CONF_DIR=${home}/etc`,
    ]
    shell(
      `mkdir -p ${home} && nix-store --restore ${home}/tree < ${nar} && env ${env.join(' ')} nix-store --add ${home}/tree >/dev/null`,
    )
  }
  const ours = async () => {
    stored = join(folder, `ours-${kept}-${round++}`)
    await using stores = await open(stored, kept)
    await ingestNar(stores, createReadStream(nar, { highWaterMark: READ_BUFFER_BYTES }))
  }
  const best = await turns(nix, ours, 2)
  const row = {
    work: `ingest it into ${kept} (Nix: --restore and --add)`,
    ...best,
    note: rates(narBytes, best),
  }
  return { row, stored }
}

/** The best of some rounds that take turns, so that noise meets both. */
async function turns(
  nix: () => void,
  ours: () => Promise<void>,
  rounds = ROUNDS,
): Promise<{ baseline: number; ours: number }> {
  const best = { baseline: Number.POSITIVE_INFINITY, ours: Number.POSITIVE_INFINITY }
  // Neither begins with what the other left in memory: only ours has to wait for the disk.
  const alone = async (work: () => void | Promise<void>) => {
    shell('sync')
    return await measure(work)
  }
  for (let i = 0; i < rounds; i++) {
    best.baseline = Math.min(best.baseline, await alone(nix))
    best.ours = Math.min(best.ours, await alone(ours))
  }
  return best
}

/** What we do and Nix does not, each alone on one thread over the contents of the NAR. */
async function costs(nar: string): Promise<void> {
  const contents = await filesOf(nar)
  const report = async (what: string, work: () => void | Promise<void>) =>
    console.log(`- ${what}: ${(await measure(work)).toFixed(2)} s of one thread`)
  console.log('\nOf that, alone:\n')
  await report('SHA-256 of the NAR', () => {
    const hash = createHash('sha256')
    for (const file of contents) hash.update(file)
    hash.digest()
  })
  await report('BLAKE3 of every file', () => {
    for (const file of contents) Digest.of(file)
  })
  const chunks: Uint8Array[] = []
  await report('chunking', () => {
    for (const file of contents) {
      const splitter = new ChunkSplitter(new Chunker())
      chunks.push(...splitter.push(file), ...splitter.finish())
    }
  })
  await report(`zstd of ${chunks.length} chunks`, async () => {
    for (const chunk of chunks) await compress(chunk)
  })
}

async function filesOf(nar: string): Promise<Uint8Array[]> {
  const files: Uint8Array[] = []
  let file: Uint8Array[] = []
  const parser = new NarParser()
  for await (const piece of createReadStream(nar, { highWaterMark: READ_BUFFER_BYTES }))
    for (const event of parser.push(piece)) {
      if (event.type === 'contents') file.push(event.bytes)
      if (event.type !== 'end-file') continue
      files.push(Buffer.concat(file))
      file = []
    }
  return files
}

async function storePath(
  stores: Stores,
  node: PathInfo['node'],
  nar: string,
  narBytes: number,
): Promise<void> {
  const narSha256 = createHash('sha256')
    .update(await readFile(nar))
    .digest()
  await stores.pathInfos.put({
    storePath: narStorePath('tree', narSha256),
    node,
    references: [],
    narSize: BigInt(narBytes),
    narSha256,
    signatures: [],
    deriver: undefined,
    ca: { kind: 'nar', algorithm: 'sha256', digest: narSha256 },
  })
}

async function download(folder: string, store: string, narBytes: number, kept: Kept): Promise<void> {
  await using stores = await open(store, kept)
  const [pathInfo] = await collect(stores.pathInfos.list())
  const port = await freePort()
  const flags = [
    'nar-bridge',
    '-l',
    `127.0.0.1:${port}`,
    '--nar-index',
    `lmdb://${folder}/index-${kept}.lmdb`,
  ]
  const [program = '', ...args] = builtTvixStore()
  const bridge = spawn(program, [...args, ...flags, ...localStoreFlags(store, kept)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  bridge.stderr.resume()
  try {
    const url = `http://127.0.0.1:${port}/${narUrl(pathInfo!.node, pathInfo!.narSize)}`
    while (!(await reaches(`http://127.0.0.1:${port}/nix-cache-info`))) await wait(100)
    let best = 0
    for (let i = 0; i < WARM_ROUNDS; i++) best = Math.max(best, get(url, narBytes))
    console.log(
      `\nwarm NAR download from ${kept} through nar-bridge by curl, one stream: ${mb(best)}/s (goal: 700 MB/s)`,
    )
  } finally {
    bridge.kill()
    await new Promise((resolve) => bridge.once('exit', resolve))
  }
}

function reaches(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    http
      .get(url, (response) => response.resume().once('end', () => resolve(true)))
      .once('error', () => resolve(false))
  })
}

/**
 * Bytes a second from connecting to the last byte, as curl sees it, whose library is what Nix downloads with. A client in this
 * process would take as much of two processors as the bridge.
 */
function get(url: string, bytesExpected: number): number {
  const flags = ['-sSf', '-o', '/dev/null', '-w', '%{size_download} %{time_total}']
  const told = execFileSync('curl', [...flags, url], { encoding: 'utf8' })
  const [bytes, time] = told.split(' ').map(Number)
  if (bytes !== bytesExpected) throw new Error(`${bytes} of ${bytesExpected} bytes`)
  return bytes / time!
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve((address as { port: number }).port))
    })
  })
}

/** What arrives at a store that has the first version of a tree already, by the growth of its folder. */
async function secondVersion(folder: string, first: string, tree: string): Promise<void> {
  const second = join(folder, 'second')
  await mkdir(second)
  await copyAll(first, second)
  const before = folderBytes(second)
  await changeFiles(tree)
  shell(`'${TVIX_STORE}' import '${tree}' ${localStoreFlags(first).join(' ')} >/dev/null 2>&1`)
  await copyAll(first, second)
  const grown = folderBytes(second) - before
  const share = ((100 * grown) / before).toFixed(1)
  console.log(
    `\na second version, of whose files 5 % were changed, adds ${mb(grown)} to the ${mb(before)} of the first: ${share} % (goal: 10 %)`,
  )
}

async function copyAll(from: string, to: string): Promise<void> {
  const source = localStoreFlags(from).map((flag) => flag.replace('--', '--from-'))
  shell(`'${TVIX_STORE}' copy --all ${source.join(' ')} ${localStoreFlags(to).join(' ')} 2>/dev/null`)
}

/** A few bytes in the middle of every twentieth file. */
async function changeFiles(tree: string): Promise<void> {
  const files = execFileSync('find', [tree, '-type', 'f', '-print0'], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  const paths = files
    .split('\0')
    .filter((path) => path !== '')
    .sort()
  for (let i = 0; i < paths.length; i += CHANGED_EVERY) {
    const contents = await readFile(paths[i]!)
    const middle = contents.length >> 1
    contents.fill(i % 256, middle, Math.min(contents.length, middle + CHANGED_BYTES))
    await rm(paths[i]!)
    await writeFile(paths[i]!, contents)
  }
}

/** Apparent sizes of the objects; file systems round up. */
function folderBytes(store: string): number {
  return Number(
    execFileSync('du', ['-sb', `${store}/blobs.object_store`], { encoding: 'utf8' }).split('\t')[0],
  )
}

function shell(command: string): void {
  execFileSync('sh', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'] })
}

function mb(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}

function rates(bytes: number, { baseline, ours }: { baseline: number; ours: number }): string {
  return `${mb(bytes / baseline)}/s, ${mb(bytes / ours)}/s`
}
