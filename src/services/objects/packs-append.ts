import { randomInt } from 'node:crypto'
import { constants } from 'node:fs'
import { dirname, join } from 'node:path'
import { systemCode } from '../../support/errors.ts'
import { Grouped } from '../../support/grouped.ts'
import { PACK_BYTES_MAX } from '../../support/limits.ts'
import { fileError } from './file-error.ts'
import type { RecordRun } from './native-packs.ts'
import {
  aligned,
  decodePackHead,
  encodePackHead,
  PACK_HEAD_BYTES,
  PAGE_BYTES,
  packName,
  packOfName,
  wholePages,
} from './packs-format.ts'
import type { PacksOps } from './packs-ops.ts'

/** What is appended in one piece. */
type Run = Pick<RecordRun, 'bytes' | 'isBulk'>

/** Where a run of records lies. */
export interface RunPlace {
  readonly pack: number
  /** Of its first byte. */
  readonly offset: number
}

/** A run that is in its pack, and durable when `synced` resolves. */
interface Written {
  readonly place: RunPlace
  readonly synced: Promise<void>
}

/** A pack that this process has for itself. */
interface OwnPack {
  readonly number: number
  readonly fd: number
  readonly salt: number
  /** Of the same file, past the page cache; `undefined` before the first bulk, less than 0 where the file system has no such thing. */
  bulkFd: number | undefined
  /** Behind all that was written to it. */
  end: number
}

const BULK_FLAGS = constants.O_WRONLY | constants.O_DIRECT

/**
 * Appends to packs. Each process holds one of its own, by flock(2), which ends with it; whoever comes next takes it up where
 * it ends. What another left behind there, killed in the middle, is never referred to, and stays: nothing is ever
 * overwritten or cut off.
 */
export class PackAppender {
  readonly #folder: string
  readonly #ops: PacksOps
  readonly #packBytesMax: number
  readonly #writes = new Grouped<Run, Written>((runs) => this.#append(runs))
  /** Of the pack that is being written, or of the one before; never of both. */
  readonly #syncs = new Grouped<OwnPack, void>((packs) => this.#sync(packs))
  #pack: OwnPack | undefined
  #taking: Promise<OwnPack> | undefined

  /** `folder`: of the packs. */
  constructor(folder: string, ops: PacksOps, packBytesMax = PACK_BYTES_MAX) {
    this.#folder = folder
    this.#ops = ops
    this.#packBytesMax = packBytesMax
  }

  /** What the records need for their checksums; all packs that this process writes to have the same. */
  async salt(): Promise<number> {
    return (await this.#own()).salt
  }

  /** Resolves when the run is durable. Several that wait are synced together, and others written meanwhile. */
  async append(run: Run): Promise<RunPlace> {
    const { place, synced } = await this.#writes.add(run)
    await synced
    return place
  }

  /** Lets others have the pack. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writes.idle()
    await this.#syncs.idle()
    await this.#taking?.catch(() => {}) // whoever waits for it hears of a failure
    this.#leave()
  }

  async #append(runs: readonly Run[]): Promise<Written[]> {
    const length = runs.reduce((sum, { bytes, isBulk }) => sum + bytes.length + (isBulk ? PAGE_BYTES : 0), 0)
    const pack = await this.#withRoom(length)
    try {
      const places: RunPlace[] = []
      for (const run of runs) places.push(await this.#write(pack, run))
      const synced = this.#syncs.add(pack)
      return places.map((place) => ({ place, synced }))
    } catch (error) {
      throw this.#failed(pack, error)
    }
  }

  /** What was written before it began is durable when it resolves. */
  async #sync(packs: readonly OwnPack[]): Promise<undefined[]> {
    try {
      await this.#ops.sync(packs[0]!.fd)
      return packs.map(() => undefined)
    } catch (error) {
      throw this.#failed(packs[0]!, error)
    }
  }

  #failed({ number }: OwnPack, error: unknown): unknown {
    return fileError(`writing ${join(this.#folder, packName(number))}`, error)
  }

  async #write(pack: OwnPack, { bytes, isBulk }: Run): Promise<RunPlace> {
    // Behind what a failure left there.
    pack.end = isBulk ? wholePages(pack.end) : aligned(pack.end)
    const place = { pack: pack.number, offset: pack.end }
    for (let rest = bytes; rest.length > 0; ) {
      const written = isBulk
        ? await this.#writeBulk(pack, rest)
        : await this.#ops.write(pack.fd, rest, pack.end)
      pack.end += written
      rest = rest.subarray(written)
    }
    return place
  }

  /**
   * Past the page cache: to copy large chunks there costs more than all else that is done with them, many times so on a virtual
   * machine that has lent its free memory to others, and pushes out what is being read.
   */
  async #writeBulk(pack: OwnPack, bytes: Uint8Array): Promise<number> {
    try {
      pack.bulkFd ??= this.#ops.open(join(this.#folder, packName(pack.number)), BULK_FLAGS)
      if (pack.bulkFd >= 0) return await this.#ops.write(pack.bulkFd, bytes, pack.end)
    } catch (error) {
      // Of a file system that cannot, or not in pages of this size, or after a part of a page was written.
      if (systemCode(error) !== 'EINVAL') throw error
      this.#leaveBulk(pack)
    }
    return await this.#ops.write(pack.fd, bytes, pack.end)
  }

  #leaveBulk(pack: OwnPack): void {
    if (pack.bulkFd !== undefined && pack.bulkFd >= 0) this.#ops.close(pack.bulkFd)
    pack.bulkFd = -1
  }

  async #withRoom(length: number): Promise<OwnPack> {
    const pack = await this.#own()
    if (pack.end === PACK_HEAD_BYTES || pack.end + length <= this.#packBytesMax) return pack
    const next = await this.#explained(() => this.#create(pack.salt))
    await this.#syncs.idle()
    this.#leave()
    this.#pack = next
    return next
  }

  #leave(): void {
    if (this.#pack) {
      this.#leaveBulk(this.#pack)
      this.#ops.close(this.#pack.fd)
    }
    this.#pack = undefined
  }

  #own(): Promise<OwnPack> {
    if (this.#pack) return Promise.resolve(this.#pack)
    this.#taking ??= this.#explained(() => this.#take())
      .then((pack) => {
        this.#pack = pack
        return pack
      })
      .finally(() => {
        this.#taking = undefined
      })
    return this.#taking
  }

  async #explained(work: () => Promise<OwnPack>): Promise<OwnPack> {
    try {
      return await work()
    } catch (error) {
      throw fileError(`making room in ${this.#folder}`, error)
    }
  }

  /** One that nobody has and that has room, else a new one. The newest have the most. */
  async #take(): Promise<OwnPack> {
    if (this.#ops.addon)
      for (const number of this.#numbers().reverse()) {
        const pack = await this.#takeUp(number)
        if (pack) return pack
      }
    return await this.#create(randomInt(2 ** 32))
  }

  #numbers(): number[] {
    const numbers = this.#ops.list(this.#folder).flatMap((name) => packOfName(name) ?? [])
    return numbers.sort((a, b) => a - b)
  }

  async #takeUp(number: number): Promise<OwnPack | undefined> {
    const fd = this.#ops.open(join(this.#folder, packName(number)), 'r+')
    try {
      const pack = this.#ops.size(fd) < this.#packBytesMax ? await this.#held(fd, number) : undefined
      if (!pack) this.#ops.close(fd)
      return pack
    } catch (error) {
      this.#ops.close(fd)
      throw error
    }
  }

  async #held(fd: number, number: number): Promise<OwnPack | undefined> {
    if (!this.#ops.addon!.lock(fd)) return undefined
    const size = this.#ops.size(fd)
    // Whoever made it was killed before it had a head, so nothing can be in it.
    if (size < PACK_HEAD_BYTES) return await this.#begin(fd, number, randomInt(2 ** 32))
    const head = decodePackHead(this.#ops.read(fd, PACK_HEAD_BYTES))
    if (!head || head.hasSoleWriter) return undefined
    return { number, fd, salt: head.salt, bulkFd: undefined, end: aligned(size) }
  }

  async #create(salt: number): Promise<OwnPack> {
    for (let number = 1 + (this.#numbers().at(-1) ?? -1); ; number++) {
      let fd: number
      try {
        fd = this.#ops.open(join(this.#folder, packName(number)), 'wx+')
      } catch (error) {
        // Another process was faster.
        if (systemCode(error) === 'EEXIST') continue
        throw error
      }
      try {
        // So is who found it before it was locked.
        if (this.#ops.addon?.lock(fd) !== false) return await this.#begin(fd, number, salt)
        this.#ops.close(fd)
      } catch (error) {
        this.#ops.close(fd)
        throw error
      }
    }
  }

  /** Its name is durable when it resolves, and its head when that of the first record is. */
  async #begin(fd: number, number: number, salt: number): Promise<OwnPack> {
    const head = encodePackHead({ salt, hasSoleWriter: !this.#ops.addon })
    for (let written = 0; written < head.length; )
      written += await this.#ops.write(fd, head.subarray(written), written)
    await this.#ops.syncFolder(this.#folder)
    // Where this folder and the index are.
    await this.#ops.syncFolder(dirname(this.#folder))
    return { number, fd, salt, bulkFd: undefined, end: PACK_HEAD_BYTES }
  }
}
