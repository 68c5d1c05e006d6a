/**
 * A store in a guest: ours, against Debian's virtiofsd over a mount of ours and over the source on the local disk. All three
 * are shares of one guest, which runs in software emulation: round trips cost more than they do with KVM, so only the
 * ratios mean something. The same program measures each of them in turn, in rounds that begin with another one each and have a
 * tree of their own, after some that are not measured: the emulator translates what it runs for the first time, and so do the device
 * processes. What counts is the median of the rounds.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { localStoreFlags, runOk, TVIX_STORE } from '../support/cli.ts'
import { DeviceProcess } from '../support/guest/device-process.ts'
import { Guest, VIRTIOFSD_C, whyNoGuests } from '../support/guest/machine.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'
import { median } from './report.ts'

/** Enough that one in which the emulator or the machine was busy with something else moves no median. */
const ROUNDS = 7
/** Of a round. virtiofsd holds a descriptor for every inode that the guest knows, and may be allowed 20,000. */
const DIRECTORIES = 20
/** Walked through ours alone, for its memory. */
const WIDE_DIRECTORIES = 1000
const FILES_PER_DIRECTORY = 100
const FILE_BYTES = 512
/** Small files that are read in a round; each takes most of a millisecond under emulation. All in all it is to last two minutes. */
const SMALL_READS = 500
const LARGE_BYTES = 32 * 1024 * 1024
/** Rounds that are not measured: V8 goes on compiling what our device process runs for that long. */
const WARM_ROUNDS = 2
const SHARES = ['ours', 'mount', 'ext4'] as const
type Share = (typeof SHARES)[number]

export async function benchVirtiofs(): Promise<void> {
  const reason =
    whyNoMounts() ?? whyNoGuests() ?? (VIRTIOFSD_C ? undefined : 'no virtiofsd of qemu-system-common')
  if (reason) throw new Error(`nothing to measure: ${reason}`)
  const folder = await mkdtemp(join(tmpdir(), 'tvix-store-bench-'))
  try {
    const timer = join(folder, 'timer')
    execFileSync('gcc', ['-O2', '-static', '-o', timer, join(import.meta.dirname, 'guest-timer.c')])
    const source = join(folder, 'source')
    const warm = join(folder, 'warm')
    const wide = join(folder, 'wide')
    for (let round = 0; round < ROUNDS; round++) makeTree(join(source, `${round}`), DIRECTORIES, true)
    for (let round = 0; round < WARM_ROUNDS; round++) makeTree(join(warm, `${round}`), DIRECTORIES, true)
    makeTree(wide, WIDE_DIRECTORIES, false)
    const flags = localStoreFlags(folder)
    const names: string[] = []
    for (const path of [source, warm, wide])
      names.push(basename((await runOk(TVIX_STORE, ['import', ...flags, path])).trim()))
    const [name, warmName, wideName] = names as [string, string, string]
    await using namespace = await MountNamespace.create()
    await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
    const socket = (share: Share) => join(folder, `${share}.socket`)
    await using ours = await DeviceProcess.ours([socket('ours')], flags)
    // Another process, so that its memory is that of walking alone.
    await using walker = await DeviceProcess.ours([join(folder, 'wide.socket')], flags)
    await using _mounted = await DeviceProcess.virtiofsd(namespace, mount.target, socket('mount'))
    await using _ext4 = await DeviceProcess.virtiofsd(namespace, folder, socket('ext4'))
    await using guest = await Guest.boot({
      folder,
      shares: {
        ...Object.fromEntries(SHARES.map((share) => [share, socket(share)])),
        wide: join(folder, 'wide.socket'),
      },
      programs: { timer },
      memoryMiB: 1536,
    })
    // First, so that it is told even where the rest takes too long.
    await guest.mount('wide', '/mnt/wide')
    const walked = await guest.runOk('/timer', 'walk', join('/mnt/wide', wideName))
    const [entries, seconds] = walked.split(' ').map(Number)
    console.log(`walking ${entries} entries took ${seconds!.toFixed(1)} s; ${memoryOf(walker.pid)}`)
    await guest.runOk('umount', '/mnt/wide')
    for (const share of SHARES) await guest.mount(share, `/mnt/${share}`)
    const rootsOf = (imported: string, path: string, round: number) =>
      SHARES.map((share) => join('/mnt', share, share === 'ext4' ? basename(path) : imported, `${round}`))
    for (let round = 0; round < WARM_ROUNDS; round++)
      await measure(guest, rootsOf(warmName, warm, round), round)
    const rounds: Row[][] = []
    for (let round = 0; round < ROUNDS; round++)
      rounds.push(await measure(guest, rootsOf(name, source, round), round))
    print(medians(rounds))
    console.log(`\nafter all of the table: ${memoryOf(ours.pid)}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function makeTree(path: string, directories: number, hasLargeFile: boolean): void {
  for (let d = 0; d < directories; d++) {
    mkdirSync(join(path, `d${d}`), { recursive: true })
    const contents = randomBytes(FILE_BYTES * FILES_PER_DIRECTORY)
    for (let f = 0; f < FILES_PER_DIRECTORY; f++)
      writeFileSync(`${path}/d${d}/f${f}`, contents.subarray(f * FILE_BYTES, (f + 1) * FILE_BYTES))
  }
  if (hasLargeFile) writeFileSync(join(path, 'large'), randomBytes(LARGE_BYTES))
}

/** What was done: how many of what, and the seconds it took of each share. */
interface Row {
  readonly title: string
  readonly count: number
  readonly unit: 'each' | 'bytes'
  readonly seconds: readonly number[]
}

/** `roots`: the same tree in each share; that of number `first` has its turn first. */
async function measure(guest: Guest, roots: readonly string[], first: number): Promise<Row[]> {
  const time = async (expected: number, ...args: string[]) => {
    const [count, seconds] = (await guest.runOk('/timer', ...args)).split(' ').map(Number)
    if (count !== expected) throw new Error(`${args.join(' ')}: ${count} instead of ${expected}`)
    return seconds!
  }
  const row = async (title: string, count: number, work: (root: string) => Promise<number>): Promise<Row> => {
    const seconds = new Array<number>(roots.length)
    for (let i = 0; i < roots.length; i++) {
      const turn = (first + i) % roots.length
      seconds[turn] = await work(roots[turn]!)
    }
    return { title, count, unit: title.startsWith('sequential') ? 'bytes' : 'each', seconds }
  }
  const entries = DIRECTORIES * (FILES_PER_DIRECTORY + 1) + 1
  const walk = (root: string) => time(entries, 'walk', root)
  const small = (root: string) => time(SMALL_READS, 'small', root, String(SMALL_READS))
  const large = (root: string) => time(LARGE_BYTES, 'large', join(root, 'large'))
  const largeTitle = `sequential read of ${LARGE_BYTES / 1024 / 1024} MiB`
  return [
    await row('first walk', entries, walk),
    await row('second walk', entries, walk),
    await row('open, read and close small files, first', SMALL_READS, small),
    await row('open, read and close small files, again', SMALL_READS, small),
    await row(`${largeTitle}, first`, LARGE_BYTES, large),
    await row(`${largeTitle}, again`, LARGE_BYTES, large),
  ]
}

/** Of the rounds, which have the same rows, for each share by itself. */
function medians(rounds: readonly (readonly Row[])[]): Row[] {
  return rounds[0]!.map((row, at) => ({
    ...row,
    seconds: SHARES.map((_, share) => median(rounds.map((rows) => rows[at]!.seconds[share]!))),
  }))
}

function print(rows: readonly Row[]): void {
  console.log(
    `\nA guest's walk through ${DIRECTORIES * FILES_PER_DIRECTORY} files, and reads; medians of ${ROUNDS} rounds\n`,
  )
  console.log('| work | ours | virtiofsd over our mount | over ext4 | ours faster than these |')
  console.log('|---|---|---|---|---|')
  for (const { title, count, unit, seconds } of rows) {
    const figures = seconds.map((taken) =>
      unit === 'bytes'
        ? `${(count / taken / 1e6).toFixed(0)} MB/s`
        : `${((taken / count) * 1e6).toFixed(1)} µs each`,
    )
    const [ours, ...others] = seconds as [number, ...number[]]
    const factors = others.map((taken) => `${(taken / ours).toFixed(2)} ×`)
    console.log(`| ${title} | ${figures.join(' | ')} | ${factors.join(', ')} |`)
  }
}

function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mib = (field: string) =>
    (Number(new RegExp(`${field}:\\s*(\\d+)`).exec(status)?.[1]) / 1024).toFixed(0)
  return `${mib('RssAnon')} MiB of memory of its own, ${mib('RssFile')} MiB of files, and ${mib('RssShmem')} MiB of the guest's`
}
