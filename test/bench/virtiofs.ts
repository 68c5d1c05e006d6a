/**
 * A store in a guest: ours, against Debian's virtiofsd over a mount of ours and over the source on the local disk. All three
 * are shares of one guest, which runs in software emulation: round trips cost more than they do with KVM, so only the
 * ratios mean something. The same program measures each of them, one after the other.
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

/** virtiofsd holds a descriptor for every inode that the guest knows, and may be allowed 20,000. */
const DIRECTORIES = 150
/** Walked through ours alone, for its memory. */
const WIDE_DIRECTORIES = 1000
const FILES_PER_DIRECTORY = 100
const FILE_BYTES = 512
/** Small files that are read; each takes most of a millisecond under emulation. */
const SMALL_READS = 5_000
const LARGE_BYTES = 64 * 1024 * 1024
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
    const wide = join(folder, 'wide')
    makeSmallFiles(source, DIRECTORIES)
    writeFileSync(join(source, 'large'), randomBytes(LARGE_BYTES))
    makeSmallFiles(wide, WIDE_DIRECTORIES)
    const flags = localStoreFlags(folder)
    const paths = (await runOk(TVIX_STORE, ['import', ...flags, source, wide])).trim().split('\n')
    const [name, wideName] = paths.map((path) => basename(path)) as [string, string]
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
    const results = new Map<Share, Results>()
    for (const share of SHARES) {
      await guest.mount(share, `/mnt/${share}`)
      const root = join('/mnt', share, share === 'ext4' ? 'source' : name)
      results.set(share, await measureShare(guest, root))
    }
    print(results)
    await guest.mount('wide', '/mnt/wide')
    const walked = await guest.runOk('/timer', 'walk', join('/mnt/wide', wideName))
    const [entries, seconds] = walked.split(' ').map(Number)
    console.log(`\nwalking ${entries} entries took ${seconds!.toFixed(1)} s; ${memoryOf(walker.pid)}`)
    console.log(`after all of the table: ${memoryOf(ours.pid)}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function makeSmallFiles(path: string, directories: number): void {
  for (let d = 0; d < directories; d++) {
    mkdirSync(join(path, `d${d}`), { recursive: true })
    const contents = randomBytes(FILE_BYTES * FILES_PER_DIRECTORY)
    for (let f = 0; f < FILES_PER_DIRECTORY; f++)
      writeFileSync(`${path}/d${d}/f${f}`, contents.subarray(f * FILE_BYTES, (f + 1) * FILE_BYTES))
  }
}

/** Seconds, by what was done. */
type Results = Readonly<Record<keyof typeof WORK, number>>

const WORK = {
  firstWalk: ['first walk', DIRECTORIES * (FILES_PER_DIRECTORY + 1) + 1],
  secondWalk: ['second walk', DIRECTORIES * (FILES_PER_DIRECTORY + 1) + 1],
  firstSmall: ['open, read and close small files, first', SMALL_READS],
  warmSmall: ['open, read and close small files, again', SMALL_READS],
  firstLarge: ['sequential read of 64 MiB, first', LARGE_BYTES],
  warmLarge: ['sequential read of 64 MiB, again', LARGE_BYTES],
} as const satisfies Record<string, readonly [string, number]>

async function measureShare(guest: Guest, root: string): Promise<Results> {
  const time = async (expected: number, ...args: string[]) => {
    const [count, seconds] = (await guest.runOk('/timer', ...args)).split(' ').map(Number)
    if (count !== expected) throw new Error(`${args.join(' ')}: ${count} instead of ${expected}`)
    return seconds!
  }
  const walk = () => time(WORK.firstWalk[1], 'walk', root)
  const small = () => time(SMALL_READS, 'small', root, String(SMALL_READS))
  const large = () => time(LARGE_BYTES, 'large', join(root, 'large'))
  return {
    firstWalk: await walk(),
    secondWalk: await walk(),
    firstSmall: await small(),
    warmSmall: await small(),
    firstLarge: await large(),
    warmLarge: await large(),
  }
}

function print(results: ReadonlyMap<Share, Results>): void {
  console.log(`\nA guest's walk through ${DIRECTORIES * FILES_PER_DIRECTORY} files, and reads\n`)
  console.log('| work | ours | virtiofsd over our mount | over ext4 | ours faster than these |')
  console.log('|---|---|---|---|---|')
  for (const key of Object.keys(WORK) as (keyof typeof WORK)[]) {
    const [ours, mount, ext4] = SHARES.map((share) => results.get(share)![key]) as [number, number, number]
    const [title, count] = WORK[key]
    const each = (seconds: number) =>
      count === LARGE_BYTES
        ? `${(count / seconds / 1e6).toFixed(0)} MB/s`
        : `${((seconds / count) * 1e6).toFixed(1)} µs each`
    const factors = `${(mount / ours).toFixed(2)} ×, ${(ext4 / ours).toFixed(2)} ×`
    console.log(`| ${title} | ${each(ours)} | ${each(mount)} | ${each(ext4)} | ${factors} |`)
  }
}

function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mib = (field: string) =>
    (Number(new RegExp(`${field}:\\s*(\\d+)`).exec(status)?.[1]) / 1024).toFixed(0)
  return `${mib('RssAnon')} MiB of memory of its own, ${mib('RssFile')} MiB of files, and ${mib('RssShmem')} MiB of the guest's`
}
