import { loadAddon } from '../../support/addon.ts'
import type { BufferRooms } from '../../support/buffer-rooms.ts'
import { PACK_BULK_BYTES_EACH, PACK_BULK_BYTES_MIN } from '../../support/limits.ts'
import { systemError } from '../../support/system-error.ts'
import { PAGE_BYTES, RECORD_ALIGNMENT, RECORD_HEAD_BYTES, sealRecord, wholePages } from './packs-format.ts'

/** native/packs.c: what it resolves with, or gives at once, is a negative errno when it failed. None throws. */
interface NativePacks {
  layOut(
    into: Uint8Array,
    keys: Uint8Array,
    bodies: readonly Uint8Array[],
    records: Uint32Array,
    salt: number,
    zstdLevel: number,
  ): Promise<number> | number
  lead(bytes: Uint8Array): number
  lock(fd: number): number
}

/** An object that is to be stored, by its encoded key. */
export interface NewRecord {
  readonly key: Buffer
  readonly body: Uint8Array
  /** What is stored is a zstd frame of it. */
  readonly isZstd: boolean
}

/** Records one behind the other, as they are to be in a pack. */
export interface RecordRun {
  readonly bytes: Uint8Array
  /** For each record where its contents begin in `bytes`, and how many bytes they are: two numbers. */
  readonly places: Uint32Array
  /** Of large records: `bytes` begin where a page of memory does, and are whole pages, with zeros at their end. */
  readonly isBulk: boolean
}

export interface PacksAddon {
  /** Compresses and lays out in one trip to the thread pool; the bodies must stay as they are meanwhile. */
  layOut(
    records: readonly NewRecord[],
    salt: number,
    zstdLevel: number,
    rooms?: BufferRooms,
  ): Promise<RecordRun>
  /** flock(2): whether nobody else has the file locked; it is, then, until it is closed. Throws what else the system says. */
  lock(fd: number): boolean
}

let loading: Promise<PacksAddon | undefined> | undefined

/** `undefined` where the addon was not built: everything works without it, only slower. */
export function packsAddon(): Promise<PacksAddon | undefined> {
  loading ??= load()
  return loading
}

async function load(): Promise<PacksAddon | undefined> {
  try {
    const addon = addonOf(loadAddon('packs') as NativePacks)
    return (await isWorking(addon)) ? addon : undefined
  } catch {
    return undefined
  }
}

/** A Node.js that was built with the libraries of the system may not export them. */
async function isWorking(addon: PacksAddon): Promise<boolean> {
  const [key, body] = [Buffer.from('key'), Buffer.alloc(1_000, 'body')]
  const expected = Buffer.concat([Buffer.alloc(RECORD_HEAD_BYTES), key, body])
  sealRecord(expected, key.length, 7)
  const { bytes } = await addon.layOut([{ key, body, isZstd: false }], 7, 1)
  return expected.equals(bytes.subarray(0, expected.length))
}

/** What zstd makes of noise is this much longer (ZSTD_compressBound). */
function frameBytesMax(bytes: number): number {
  return bytes + (bytes >>> 8) + 512
}

function addonOf(native: NativePacks): PacksAddon {
  return {
    async layOut(records, salt, zstdLevel, rooms) {
      const places = new Uint32Array(2 * records.length)
      let room = 2 * PAGE_BYTES
      for (const [i, { key, body, isZstd }] of records.entries()) {
        places[2 * i] = key.length * 2 + (isZstd ? 1 : 0)
        room += RECORD_HEAD_BYTES + key.length + 2 * RECORD_ALIGNMENT
        room += isZstd ? frameBytesMax(body.length) : body.length
      }
      // Not its own bytes are what costs: most of it is never touched.
      const memory = rooms?.take(room) ?? Buffer.allocUnsafeSlow(room)
      const into = memory.subarray(native.lead(memory))
      const keys = Buffer.concat(records.map(({ key }) => key))
      const bodies = records.map(({ body }) => body)
      const length = await native.layOut(into, keys, bodies, places, salt, zstdLevel)
      if (length < 0) {
        rooms?.giveBack(memory)
        throw systemError(length, 'compressing')
      }
      const isBulk = length >= Math.max(PACK_BULK_BYTES_MIN, records.length * PACK_BULK_BYTES_EACH)
      if (!isBulk) return { bytes: into.subarray(0, length), places, isBulk }
      return { bytes: into.subarray(0, wholePages(length)).fill(0, length), places, isBulk }
    },
    lock(fd) {
      const result = native.lock(fd)
      if (result === 0) return true
      const error = systemError(result, 'locking')
      if (error.code === 'EAGAIN') return false
      throw error
    },
  }
}
