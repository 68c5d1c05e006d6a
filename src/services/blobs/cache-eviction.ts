import type { Stats } from 'node:fs'
import { lstat, readdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mapConcurrent } from '../../support/concurrency.ts'
import { systemCode } from '../../support/errors.ts'
import {
  DISK_CACHE_KEPT_SHARE,
  DISK_CACHE_LOCK_STALE_MS,
  DISK_CACHE_RESCAN_SHARE,
  DISK_CACHE_SCANS_MAX,
  DISK_CACHE_TOUCH_MS,
  FILE_BLOCK_BYTES,
  TEMP_FILE_STALE_MS,
} from '../../support/limits.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import { FOR_READING, isFull } from './cache-folder.ts'

/** Bytes of a block as `stat` counts them, whatever the file system uses (stat(2)). */
const BLOCK_BYTES = 512

/** All files of one blob. */
interface Entry {
  readonly names: readonly string[]
  /** What they take on the disk. */
  readonly bytes: number
  readonly usedSecond: number
}

/**
 * Keeps a cache folder below a size: when there is more, what was used longest ago goes first. Several processes may
 * do so at the same time; each looks at the folder again after it has written a share of the limit.
 */
export class CacheEviction {
  readonly #folder: string
  readonly #bytesMax: number
  readonly #logger: Logger
  #unaccounted: number
  #running: Promise<void> | undefined

  /** `folder`: the one of the cache. */
  constructor(folder: string, bytesMax: number, logger: Logger = silentLogger) {
    this.#folder = folder
    this.#bytesMax = bytesMax
    this.#logger = logger
    // The first write looks.
    this.#unaccounted = bytesMax
  }

  /** Takes note of what was written to a file and starts an eviction when it is time. */
  wrote(bytes: number): void {
    // A limit that tiny blobs could exceed many times would be none.
    this.#unaccounted += Math.ceil(bytes / FILE_BLOCK_BYTES) * FILE_BLOCK_BYTES
    if (this.#running || this.#unaccounted < this.#bytesMax * DISK_CACHE_RESCAN_SHARE) return
    this.#start(false)
  }

  /** The disk took no more, though the folder is below its limit: others fill it, or it is smaller than that. */
  diskIsFull(): void {
    if (!this.#running) this.#start(true)
  }

  #start(diskIsFull: boolean): void {
    this.#unaccounted = 0
    this.#running = this.run(diskIsFull)
      .catch((error: unknown) => {
        this.#logger.warn({ folder: this.#folder, err: error }, 'the blob cache could not be cleaned up')
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  /** Resolves when nothing runs in the background. */
  async settled(): Promise<void> {
    await this.#running
  }

  /** Looks at everything once, and at what is oldest a second time if that is too much; on a full disk, it is. */
  async run(diskIsFull = false): Promise<void> {
    const bySecond = new Map<number, number>()
    let total = 0
    for await (const { bytes, usedSecond } of this.#entries()) {
      total += bytes
      bySecond.set(usedSecond, (bySecond.get(usedSecond) ?? 0) + bytes)
    }
    const bytesMax = diskIsFull ? Math.min(total, this.#bytesMax) : this.#bytesMax
    if (total > bytesMax || diskIsFull) await this.#evict(total, bytesMax, bySecond)
  }

  async #evict(total: number, bytesMax: number, bySecond: ReadonlyMap<number, number>): Promise<void> {
    if (!(await this.#lock())) return
    try {
      let excess = total - bytesMax * DISK_CACHE_KEPT_SHARE
      const cutoff = secondOf(bySecond, excess)
      for await (const { names, bytes, usedSecond } of this.#entries()) {
        if (excess <= 0) break
        if (usedSecond > cutoff) continue
        // The map first: a part without one is nobody's.
        for (const name of names.toSorted((a, b) => rank(a) - rank(b))) await remove(name)
        excess -= bytes
      }
      this.#logger.debug({ folder: this.#folder, bytes: total }, 'made room in the blob cache')
    } finally {
      await remove(this.#lockPath)
    }
  }

  async *#entries(): AsyncGenerator<Entry> {
    const blobs = join(this.#folder, 'blobs')
    for (const shard of await readdir(blobs)) {
      const byBlob = new Map<string, string[]>()
      for (const name of await readdir(join(blobs, shard)).catch(none)) {
        const blob = name.split('.', 1)[0]!
        byBlob.set(blob, [...(byBlob.get(blob) ?? []), join(blobs, shard, name)])
      }
      yield* compact(mapConcurrent(byBlob.values(), DISK_CACHE_SCANS_MAX, (names) => this.#entry(names)))
    }
  }

  /** What a killed process left half-written is removed on the way. */
  async #entry(names: readonly string[]): Promise<Entry | undefined> {
    const hasMap = names.some((name) => name.endsWith('.map'))
    const now = Date.now()
    let bytes = 0
    let usedMs = 0
    for (const name of names) {
      const stats = await lstat(name).catch(absent)
      if (!stats) continue
      // Either way: the clock may have been set back since.
      const isStale = !hasMap && name.endsWith('.part') && Math.abs(now - stats.mtimeMs) > TEMP_FILE_STALE_MS
      if (isStale) await remove(name)
      else {
        bytes += stats.blocks * BLOCK_BYTES
        usedMs = Math.max(usedMs, knownUse(stats, now))
      }
    }
    return bytes === 0 && usedMs === 0 ? undefined : { names, bytes, usedSecond: Math.floor(usedMs / 1000) }
  }

  get #lockPath(): string {
    return join(this.#folder, 'evicting')
  }

  /** Two at a time would only remove too much: so where there is no room for a lock, it is done without. */
  async #lock(): Promise<boolean> {
    for (let isAgain = false; ; isAgain = true) {
      try {
        await writeFile(this.#lockPath, String(process.pid), { flag: 'wx' })
        return true
      } catch (error) {
        if (isFull(error)) return true
        if (systemCode(error) !== 'EEXIST') throw error
        if (isAgain || !(await this.#isLockStale())) return false
        await remove(this.#lockPath)
      }
    }
  }

  /** Whether whoever took the lock died, in which case nobody would keep the limit meanwhile. */
  async #isLockStale(): Promise<boolean> {
    const stats = await lstat(this.#lockPath).catch(absent)
    if (!stats) return true
    // Either way: the clock may have been set back since.
    if (Math.abs(Date.now() - stats.mtimeMs) > DISK_CACHE_LOCK_STALE_MS) return true
    const pid = await readFile(this.#lockPath, { encoding: 'latin1', flag: FOR_READING }).catch(absent)
    return pid !== undefined && /^[1-9][0-9]{0,9}$/.test(pid) && !isRunning(Number(pid))
  }
}

/** One that is of another container, and so not seen here, only makes two evict. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) !== 'ESRCH'
  }
}

/** When a file was used last. What seems to lie ahead was noted before the clock was set back, and would stay for ever. */
function knownUse({ atimeMs, mtimeMs }: Stats, now: number): number {
  const usedMs = Math.max(atimeMs, mtimeMs)
  return usedMs > now + DISK_CACHE_TOUCH_MS ? 1 : usedMs
}

/** The second up to which everything together is at least `bytes`. */
function secondOf(bySecond: ReadonlyMap<number, number>, bytes: number): number {
  let sum = 0
  for (const [second, each] of [...bySecond].toSorted(([a], [b]) => a - b)) {
    sum += each
    if (sum >= bytes) return second
  }
  return Number.POSITIVE_INFINITY
}

function rank(name: string): number {
  return name.endsWith('.map') ? 0 : 1
}

async function* compact<T>(items: AsyncIterable<T | undefined>): AsyncGenerator<T> {
  for await (const item of items) if (item !== undefined) yield item
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch(absent)
}

function absent(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error
  return undefined
}

function none(error: unknown): string[] {
  // Something that is no folder of ours.
  if (systemCode(error) !== 'ENOTDIR' && systemCode(error) !== 'ENOENT') throw error
  return []
}
