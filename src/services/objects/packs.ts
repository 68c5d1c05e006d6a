import { mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { BufferRooms } from '../../support/buffer-rooms.ts'
import { utf8, view } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { Grouped } from '../../support/grouped.ts'
import {
  OBJECT_LARGE_BATCHES_MAX,
  OBJECT_PUTS_MAX,
  PACK_BYTES_MAX,
  PACK_ROOM_BYTES,
} from '../../support/limits.ts'
import { readPaceOf } from '../../support/read-pace.ts'
import { openFileObjectStore } from './file.ts'
import { fileError } from './file-error.ts'
import type { ByteRange, NewObject, ObjectStore, PutManyCall } from './interface.ts'
import type { NewRecord, RecordRun } from './native-packs.ts'
import { PackAppender, type RunPlace } from './packs-append.ts'
import { INDEX_FILE, PACKS_FOLDER, PACKS_VERSION, RECORD_BYTES_MAX, VERSION_FILE } from './packs-format.ts'
import { type IndexEntry, PacksIndex, type Place } from './packs-index.ts'
import { encodeKey } from './packs-key.ts'
import { nodePacksOps, type PacksOps } from './packs-ops.ts'
import { PackReads } from './packs-reads.ts'
import { layOutRecords } from './packs-records.ts'
import { cutRange } from './range.ts'

/**
 * What is stored here stays on this machine: against level 3, 20 % less of the processor for 2.6 % more bytes (17,000 files of
 * /usr; below 1 the bytes grow faster than the time shrinks).
 */
const ZSTD_LEVEL = 1

/** A store that has nothing to do keeps none. */
const ROOMS = { bytes: PACK_ROOM_BYTES, busyMax: OBJECT_LARGE_BATCHES_MAX, idleMax: 0 }

/** Objects in a few large files, and an index of them (docs/pack-format.md). */
export interface PackedObjects extends ObjectStore, AsyncDisposable {
  readonly putMany: NonNullable<ObjectStore['putMany']>
  /** Of the packs. */
  readonly packsFolder: string
  /**
   * Where objects lie whose keys are `<prefix>/<4 hex>/<64 hex>`, by the 32 bytes of the latter. False for those that are
   * absent or empty, and when the store was closed. Meant for thousands of calls in a row: a microsecond each, and no memory.
   */
  placesBelow(prefix: string): { find(digest: Uint8Array, place: Place): boolean }
}

export interface PacksSettings {
  readonly ops?: PacksOps
  readonly packBytesMax?: number
}

/**
 * Opens the packs below `root`, which is created when it is missing. Several processes may have them open, and write.
 * Throws `precondition` for a folder that holds something else.
 */
export async function openPackedObjectStore(
  root: string,
  settings: PacksSettings = {},
): Promise<PackedObjects> {
  const folder = resolve(root)
  await prepareFolder(folder)
  const index = await PacksIndex.open(join(folder, INDEX_FILE))
  const packs = join(folder, PACKS_FOLDER)
  const { ops = await nodePacksOps(), packBytesMax = PACK_BYTES_MAX } = settings
  const appender = new PackAppender(packs, ops, packBytesMax)
  return new PackedObjectStore(folder, ops, index, appender, new PackReads(packs, await readPaceOf(folder)))
}

/**
 * The version comes first: a folder with anything else in it is not ours. So it is looked for after all else: another process
 * may be making the store at this moment.
 */
async function prepareFolder(folder: string): Promise<void> {
  const files = await openFileObjectStore(folder)
  const others = (await readdir(folder)).filter((name) => !name.startsWith('.'))
  const version = await files.get(VERSION_FILE)
  if (!version && others.length === 0) await files.put(VERSION_FILE, utf8(PACKS_VERSION), { ifAbsent: true })
  else if (!version || view(version).toString('latin1') !== PACKS_VERSION)
    throw new StoreError(
      'precondition',
      `${folder} holds something else than packs (${others.slice(0, 5).join(', ')}): name another folder`,
    )
  await mkdir(join(folder, PACKS_FOLDER), { recursive: true })
}

class PackedObjectStore implements PackedObjects {
  readonly name: string
  readonly packsFolder: string
  readonly showsTogether = true
  readonly #ops: PacksOps
  readonly #index: PacksIndex
  readonly #appender: PackAppender
  readonly #reads: PackReads
  readonly #rooms = new BufferRooms(ROOMS)
  readonly #puts = new Semaphore(OBJECT_PUTS_MAX)
  readonly #commits = new Grouped<readonly IndexEntry[], undefined>((commits) => this.#commit(commits))
  readonly #underway = new Set<Promise<unknown>>()
  #isClosed = false

  constructor(folder: string, ops: PacksOps, index: PacksIndex, appender: PackAppender, reads: PackReads) {
    this.name = `packs://${folder}`
    this.packsFolder = join(folder, PACKS_FOLDER)
    this.#ops = ops
    this.#index = index
    this.#appender = appender
    this.#reads = reads
  }

  async get(key: string, call?: Call & { range?: ByteRange | undefined }): Promise<Uint8Array | undefined> {
    throwIfAborted(call?.signal)
    const encoded = encodeKey(key)
    const place = { pack: 0, offset: 0, stored: 0 }
    if (!this.#index.find(encoded, place)) return undefined
    if (place.stored === 0) return emptyPart(call?.range)
    return await this.#reads.read(encoded, place, call)
  }

  async head(key: string, call?: Call): Promise<number | undefined> {
    throwIfAborted(call?.signal)
    const place = { pack: 0, offset: 0, stored: 0 }
    return this.#index.find(encodeKey(key), place) ? place.stored : undefined
  }

  readonly hasBelow = async (prefix: string, digests: Uint8Array, call?: Call): Promise<Uint8Array> => {
    throwIfAborted(call?.signal)
    return this.#index.hasBelow(prefix, digests)
  }

  async put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void> {
    throwIfAborted(call?.signal)
    const encoded = encodeKey(key)
    if (call?.ifAbsent && this.#index.has(encoded)) return
    const store = () => this.#store([{ key: encoded, body, isZstd: false }])
    await this.#puts.run(store, 1, call?.signal)
  }

  readonly putMany = async (
    objects: readonly NewObject[],
    call?: PutManyCall,
  ): Promise<readonly (StoreError | undefined)[]> => {
    throwIfAborted(call?.signal)
    const fresh: NewRecord[] = []
    for (const { key, body } of objects) {
      const encoded = encodeKey(key)
      if (!this.#index.has(encoded))
        fresh.push({ key: encoded, body, isZstd: call?.zstd === true && body.length > 0 })
    }
    try {
      if (fresh.length > 0) await this.#puts.run(() => this.#store(fresh), 1, call?.signal)
      return objects.map(() => undefined)
    } catch (error) {
      const failure = StoreError.from(error)
      return objects.map(({ key }) => (this.#index.has(encodeKey(key)) ? undefined : failure))
    }
  }

  list(prefix: string, call?: Call): AsyncIterable<string> {
    return this.#index.list(prefix, call)
  }

  async delete(key: string, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    await this.#index.remove(encodeKey(key))
  }

  placesBelow(prefix: string): { find(digest: Uint8Array, place: Place): boolean } {
    const places = this.#index.placesBelow(prefix)
    return { find: (digest, place) => !this.#isClosed && places.find(digest, place) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#underway)
    this.#isClosed = true
    await this.#appender[Symbol.asyncDispose]()
    await this.#reads[Symbol.asyncDispose]()
    await this.#index[Symbol.asyncDispose]()
  }

  /** First the contents, durably; then all become visible at once. */
  async #store(records: readonly NewRecord[]): Promise<void> {
    const storing = this.#storeRecords(records)
    this.#underway.add(storing)
    try {
      await storing
    } finally {
      this.#underway.delete(storing)
    }
  }

  async #storeRecords(records: readonly NewRecord[]): Promise<void> {
    const filled = records.filter(({ body }) => body.length > 0)
    const entries: IndexEntry[] = records
      .filter(({ body }) => body.length === 0)
      .map(({ key }) => ({ key, place: undefined }))
    if (filled.length > 0) {
      const run = await this.#layOut(filled)
      const { places } = run
      const { pack, offset } = await this.#append(run)
      for (const [i, { key }] of filled.entries()) {
        const place = { pack, offset: offset + places[2 * i]!, stored: places[2 * i + 1]! }
        entries.push({ key, place })
      }
    }
    await this.#commits.add(entries)
  }

  async #append(run: RecordRun): Promise<RunPlace> {
    try {
      return await this.#appender.append(run)
    } finally {
      this.#rooms.giveBack(run.bytes)
    }
  }

  async #layOut(records: readonly NewRecord[]): Promise<RecordRun> {
    const bytes = records.reduce((sum, { body }) => sum + body.length, 0)
    if (bytes > RECORD_BYTES_MAX)
      throw new StoreError('exhausted', `an object of ${bytes} bytes is too large for ${this.name}`)
    const salt = await this.#appender.salt()
    try {
      const { addon } = this.#ops
      return addon
        ? await addon.layOut(records, salt, ZSTD_LEVEL, this.#rooms)
        : await layOutRecords(records, salt)
    } catch (error) {
      throw fileError(`storing objects in ${this.name}`, error)
    }
  }

  async #commit(commits: readonly (readonly IndexEntry[])[]): Promise<readonly undefined[]> {
    await this.#index.add(commits.flat())
    return commits.map(() => undefined)
  }
}

function emptyPart(range: ByteRange | undefined): Uint8Array {
  cutRange(range, 0)
  return new Uint8Array(0)
}
