/**
 * Our gRPC server and client against bare node:http2 and against grpc-js with its defaults, over loopback, the server in
 * a process of its own. Every ratio is one of figures of the same run; what each is measured against stands in its row.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { mkdtemp, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { Digest, EMPTY_DIGEST } from '../../src/model/castore/digest.ts'
import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { openGrpcChannel } from '../../src/services/grpc-channel.ts'
import { READ_BUFFER_BYTES } from '../../src/support/limits.ts'
import { nodeFlags } from '../support/cli.ts'
import {
  expectAll,
  openHttp2,
  PATTERN_BYTES,
  PATTERN_DIGEST,
  READ_PATH,
  readRequest,
} from './grpc-pattern.ts'
import { measure, median } from './report.ts'

const ROUNDS = 5
const UPLOAD_BYTES = 512 * 1024 * 1024
/** Filled anew for each upload: to give back such memory would take a processor while the next is measured. */
const CONTENTS = Buffer.alloc(UPLOAD_BYTES)
const STREAMS = 8
const CALLS = 20_000
const CALLS_IN_FLIGHT = 64
const SLOW_READERS = 256
const SLOW_BYTES = 1024 * 1024 * 1024
const SLOW_READER_MS = 10_000

export async function benchGrpc(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tvix-store-bench-'))
  try {
    await using ours = await start('ours', `packs://${join(folder, 'packs')}`)
    await using files = await start('ours', `objectstore+file://${join(folder, 'files')}`)
    await using http2 = await start('http2')
    await using stock = await start('grpc-js')
    await using references = startReferences()
    await compare({ ours, files, http2, stock, references, folder })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Peers {
  readonly ours: Peer
  /** Ours, too, with another store. */
  readonly files: Peer
  readonly http2: Peer
  readonly stock: Peer
  readonly references: References
  readonly folder: string
}

interface Peer extends AsyncDisposable {
  readonly port: number
  readonly pid: number
}

/**
 * Rates in bytes a second, of rounds in which all take turns, so that noise meets all of them: medians, as all ratios are of those of the
 * rounds. (The best of each would compare the luckiest seconds of one with those of another: bare node:http2 varies by a factor of two.)
 */
async function compare({ ours, files, http2, stock, references, folder }: Peers): Promise<void> {
  const channel = await openGrpcChannel(`grpc+http://127.0.0.1:${ours.port}`)
  const filesChannel = await openGrpcChannel(`grpc+http://127.0.0.1:${files.port}`)
  const blobs = grpcBlobService(channel)
  const packed = new StoredBlob(blobs)
  const filed = new StoredBlob(grpcBlobService(filesChannel))
  const rounds: Rates[] = []
  const steps: [keyof Rates, () => Promise<number>][] = [
    ['http2', () => references.rate('http2', http2.port)],
    ['stock', () => references.rate('grpc-js', stock.port)],
    ['one', () => bytesPerSecond(PATTERN_BYTES, () => read(blobs, PATTERN_DIGEST, PATTERN_BYTES))],
    ['eight', () => bytesPerSecond(STREAMS * PATTERN_BYTES, () => readEight(blobs))],
    ['toPacks', () => packed.upload()],
    ['firstFromPacks', () => packed.read()],
    ['fromPacks', () => packed.read()],
    ['toFiles', () => filed.upload()],
    ['fromFiles', () => filed.read()],
    ['disk', () => writeFile(join(folder, 'file'))],
    ['unary', () => unaryCalls(blobs)],
  ]
  for (let i = 0; i < ROUNDS; i++) {
    const round = { ...NO_RATES }
    for (const [name, rate] of steps) round[name] = await rate()
    rounds.push(round)
  }
  filesChannel.close()
  await packed.upload(SLOW_BYTES)
  channel.close()
  const memory = await slowReaders(ours, packed.digest)
  print(rounds, memory)
}

const NO_RATES = {
  http2: 0,
  stock: 0,
  one: 0,
  eight: 0,
  toPacks: 0,
  firstFromPacks: 0,
  fromPacks: 0,
  toFiles: 0,
  fromFiles: 0,
  disk: 0,
  unary: 0,
}
type Rates = typeof NO_RATES

function print(rounds: readonly Rates[], memory: number): void {
  const rate = (what: keyof Rates) => median(rounds.map((round) => round[what]))
  const row = (title: string, what: keyof Rates, of?: keyof Rates, target = '') => [
    title,
    `${(rate(what) / 1e9).toFixed(2)} GB/s`,
    of === undefined ? '' : median(rounds.map((round) => round[what] / round[of])).toFixed(2),
    target,
  ]
  const rows = [
    row('bare node:http2, one stream of a pattern', 'http2'),
    row('grpc-js with its defaults, one stream of a pattern', 'stock'),
    row('one stream of a pattern, of bare node:http2', 'one', 'http2', '≥ 0.7'),
    row('one stream of a pattern, of grpc-js', 'one', 'stock', '≥ 2'),
    row(`${STREAMS} streams of a pattern, of one`, 'eight', 'one', '≥ 1'),
    row('one stream of a blob in packs, first, of bare node:http2', 'firstFromPacks', 'http2'),
    row('one stream of a blob in packs, again, of bare node:http2', 'fromPacks', 'http2', '≥ 0.7'),
    row('one stream of a blob in a file for each chunk, of bare node:http2', 'fromFiles', 'http2'),
    row('upload into packs, of reading it back again', 'toPacks', 'fromPacks', '≥ 0.3'),
    row('upload into packs, of one stream of a pattern', 'toPacks', 'one'),
    row('upload into a file for each chunk, of reading it back', 'toFiles', 'fromFiles'),
    row('upload into a file for each chunk, of one stream of a pattern', 'toFiles', 'one'),
    row('the same disk alone: one file, written and synced', 'disk'),
    [`unary calls, ${CALLS_IN_FLIGHT} in flight`, `${Math.round(rate('unary'))}/s`, '', '≥ 5000/s'],
    [
      `the server's memory under ${SLOW_READERS} slow readers of 1 GiB`,
      `${Math.round(memory / 2 ** 20)} MiB`,
      '',
      '< 512 MiB',
    ],
  ]
  console.log(`\ngRPC over loopback, client and server one process each; medians of ${ROUNDS}\n`)
  console.log('| work | figure | ratio | target |\n|---|---|---|---|')
  for (const columns of rows) console.log(`| ${columns.join(' | ')} |`)
}

async function bytesPerSecond(bytes: number, work: () => Promise<void>): Promise<number> {
  return bytes / (await measure(work))
}

async function read(blobs: BlobService, digest: Digest, bytes: number): Promise<void> {
  let received = 0
  for await (const piece of (await blobs.openRead(digest))!) received += piece.length
  expectAll(received, bytes)
}

async function readEight(blobs: BlobService): Promise<void> {
  await Promise.all(Array.from({ length: STREAMS }, () => read(blobs, PATTERN_DIGEST, PATTERN_BYTES)))
}

/** Noise that goes into a store and comes back out of it: hashed, chunked and stored, and then found, read and verified. */
class StoredBlob {
  readonly #blobs: BlobService
  digest = EMPTY_DIGEST

  constructor(blobs: BlobService) {
    this.#blobs = blobs
  }

  /** More than UPLOAD_BYTES are the same noise several times over. */
  upload(bytes = UPLOAD_BYTES): Promise<number> {
    const contents = randomFillSync(CONTENTS)
    return bytesPerSecond(bytes, async () => {
      const writer = this.#blobs.openWrite()
      for (let sent = 0; sent < bytes; sent += READ_BUFFER_BYTES) {
        const start = sent % contents.length
        await writer.write(contents.subarray(start, start + READ_BUFFER_BYTES))
      }
      this.digest = await writer.close()
    })
  }

  read(): Promise<number> {
    return bytesPerSecond(UPLOAD_BYTES, () => read(this.#blobs, this.digest, UPLOAD_BYTES))
  }
}

/** What an upload cannot be faster than, whatever it does. */
async function writeFile(path: string): Promise<number> {
  const contents = randomFillSync(CONTENTS)
  const rate = await bytesPerSecond(UPLOAD_BYTES, async () => {
    await using file = await open(path, 'w')
    for (let start = 0; start < contents.length; start += READ_BUFFER_BYTES)
      await file.write(contents, start, READ_BUFFER_BYTES)
    await file.sync()
  })
  rmSync(path)
  return rate
}

/** `Stat` of a blob that is not there: a call and no work. */
async function unaryCalls(blobs: BlobService): Promise<number> {
  const absent = Digest.of(Buffer.from('absent'))
  let left = CALLS
  const caller = async () => {
    while (left-- > 0) await blobs.has(absent)
  }
  const seconds = await measure(async () => {
    await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, caller))
  })
  return CALLS / seconds
}

/** The most memory that the server had while clients, each with its own connection, took 64 KiB of a stored blob now and then. */
async function slowReaders(server: Peer, digest: Digest): Promise<number> {
  const request = readRequest(digest)
  const sessions = Array.from({ length: SLOW_READERS }, () => openHttp2(server.port))
  const streams = sessions.map((session) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': READ_PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]))
    return stream.on('data', () => stream.pause())
  })
  const until = performance.now() + SLOW_READER_MS
  let most = 0
  while (performance.now() < until) {
    await wait(100)
    for (const stream of streams) stream.resume()
    most = Math.max(most, residentBytes(server.pid))
  }
  for (const session of sessions) session.destroy()
  return most
}

function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(kilobytes![1]) * 1024
}

/** The clients that ours is compared with; see grpc-reference.ts. */
interface References extends AsyncDisposable {
  /** One stream of the pattern, in bytes a second. */
  rate(kind: 'http2' | 'grpc-js', port: number): Promise<number>
}

function startReferences(): References {
  const script = join(import.meta.dirname, 'grpc-reference.ts')
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async rate(kind, port) {
      child.stdin.write(`${kind} ${port}\n`)
      const { done, value } = await answers.next()
      if (done) throw new Error('a client of the bench has failed')
      return PATTERN_BYTES / Number(value)
    },
    [Symbol.asyncDispose]: () => ended(child),
  }
}

/** Flags of Node for the servers, for instance `--cpu-prof`. */
const SERVER_FLAGS = (process.env['BENCH_SERVER_FLAGS'] ?? '').split(' ').filter(Boolean)

async function start(kind: string, ...args: string[]): Promise<Peer> {
  const script = join(import.meta.dirname, 'grpc-server.ts')
  const child = spawn(process.execPath, [...nodeFlags(), ...SERVER_FLAGS, script, kind, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  return {
    port: await firstLine(child),
    pid: child.pid!,
    [Symbol.asyncDispose]: () => ended(child),
  }
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.stdin!.end()
  await exited
}

function firstLine(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.stdout!.once('data', (text: Buffer) => resolve(Number(text.toString())))
    child.once('exit', () => reject(new Error('a server of the bench did not start')))
  })
}
