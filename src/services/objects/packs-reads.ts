import fs from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Call } from '../../support/call.ts'
import { Semaphore, SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { OBJECT_FILES_MAX, PACK_FILES_MAX, READ_ON_SPOT_BYTES_MAX } from '../../support/limits.ts'
import type { ReadPace } from '../../support/read-pace.ts'
import { fileError, saysAbsent } from './file-error.ts'
import type { ByteRange } from './interface.ts'
import { decodePackHead, PACK_HEAD_BYTES, packName, RECORD_HEAD_BYTES, recordFault } from './packs-format.ts'
import type { Place } from './packs-index.ts'
import { decodeKey } from './packs-key.ts'
import { cutRange } from './range.ts'

const open = promisify<string, string, number>(fs.open)
const read = promisify(fs.read) as unknown as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>

interface OpenPack {
  readonly fd: number
  readonly salt: number
  readers: number
}

/** Reads from packs: what is small on the spot while the disk lets it, all else in the thread pool, so much at a time. */
export class PackReads implements AsyncDisposable {
  readonly #folder: string
  readonly #pace: ReadPace
  readonly #places = new Semaphore(OBJECT_FILES_MAX)
  /** By number, in the order of their last use. */
  readonly #open = new Map<number, OpenPack>()
  readonly #opening = new SingleFlight<number, OpenPack>()

  constructor(folder: string, pace: ReadPace) {
    this.#folder = folder
    this.#pace = pace
  }

  /** `corrupt`, naming pack, offset and key, when it is not there, or something else is. */
  async read(
    key: Buffer,
    place: Place,
    call?: Call & { range?: ByteRange | undefined },
  ): Promise<Uint8Array> {
    const reading = new Reading(key, place, call?.range)
    try {
      const open = this.#open.get(place.pack)
      if (open && reading.bytes.length <= READ_ON_SPOT_BYTES_MAX && this.#pace.isOnSpot)
        return this.#pace.run(() => readNow(open, reading))
      return await this.#places.run(() => this.#readInPool(place.pack, reading), 1, call?.signal)
    } catch (error) {
      const path = join(this.#folder, packName(place.pack))
      if (error instanceof Fault) throw reading.corrupt(path, error.message)
      if (saysAbsent(error)) throw reading.corrupt(path, 'the file is missing')
      throw fileError(`reading ${path}`, error)
    }
  }

  /** Waits for what is being read: the number of a file that is closed may be that of another in a moment. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#places.acquire(this.#places.capacity)
    for (const { fd } of this.#open.values()) fs.closeSync(fd)
    this.#open.clear()
  }

  async #readInPool(number: number, reading: Reading): Promise<Uint8Array> {
    const pack = await this.#pack(number)
    pack.readers++
    try {
      while (!reading.isFull) reading.advance((await read(pack.fd, ...reading.rest)).bytesRead)
      return reading.contents(pack.salt)
    } finally {
      pack.readers--
    }
  }

  async #pack(number: number): Promise<OpenPack> {
    const known = this.#open.get(number) ?? (await this.#opening.run(number, () => this.#openPack(number)))
    this.#open.delete(number)
    this.#open.set(number, known)
    return known
  }

  async #openPack(number: number): Promise<OpenPack> {
    const fd = await open(join(this.#folder, packName(number)), 'r')
    try {
      const bytes = Buffer.alloc(PACK_HEAD_BYTES)
      const { bytesRead } = await read(fd, bytes, 0, PACK_HEAD_BYTES, 0)
      const head = decodePackHead(bytes.subarray(0, bytesRead))
      if (!head) throw new Fault('the file is no pack')
      this.#closeOne()
      return { fd, salt: head.salt, readers: 0 }
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
  }

  /** To have room for one more. */
  #closeOne(): void {
    if (this.#open.size < PACK_FILES_MAX) return
    for (const [number, { fd, readers }] of this.#open) {
      if (readers > 0) continue
      this.#open.delete(number)
      fs.closeSync(fd)
      return
    }
  }
}

function readNow({ fd, salt }: OpenPack, reading: Reading): Uint8Array {
  while (!reading.isFull) reading.advance(fs.readSync(fd, ...reading.rest))
  return reading.contents(salt)
}

/** Something that is not as the index says. */
class Fault extends Error {}

/** A part of an object, or the whole of it with its record, which can then be checked. */
class Reading {
  readonly bytes: Buffer
  readonly #key: Buffer
  readonly #place: Place
  readonly #position: number
  readonly #isWhole: boolean
  #filled = 0

  constructor(key: Buffer, place: Place, range: ByteRange | undefined) {
    const { start, end } = cutRange(range, place.stored)
    const before = RECORD_HEAD_BYTES + key.length
    this.#isWhole = range === undefined
    this.#key = key
    this.#place = place
    this.#position = place.offset + (this.#isWhole ? -before : start)
    this.bytes = Buffer.allocUnsafeSlow(this.#isWhole ? before + place.stored : end - start)
  }

  get isFull(): boolean {
    return this.#filled === this.bytes.length
  }

  /** What to call read(2) with. */
  get rest(): [Buffer, number, number, number] {
    const filled = this.#filled
    return [this.bytes, filled, this.bytes.length - filled, this.#position + filled]
  }

  advance(bytesRead: number): void {
    if (bytesRead === 0) throw new Fault(`the file ends ${this.bytes.length - this.#filled} bytes too early`)
    this.#filled += bytesRead
  }

  contents(salt: number): Uint8Array {
    if (!this.#isWhole) return this.bytes
    const fault = recordFault(this.bytes, this.#key, salt)
    if (fault) throw new Fault(fault)
    return this.bytes.subarray(RECORD_HEAD_BYTES + this.#key.length)
  }

  corrupt(path: string, what: string): StoreError {
    const { offset, stored } = this.#place
    return new StoreError(
      'corrupt',
      `object ${decodeKey(this.#key)} should be ${stored} bytes at ${offset} of ${path}: ${what}`,
    )
  }
}
