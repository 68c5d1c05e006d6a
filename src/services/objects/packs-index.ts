import { statfs } from 'node:fs/promises'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { INDEX_FREE_BYTES_MIN, OBJECT_LIST_PAGE } from '../../support/limits.ts'
import { type LmdbEntry, type LmdbTable, openLmdbTable } from '../lmdb-table.ts'
import { fileError } from './file-error.ts'
import { decodeKey, encodedPrefixes, fannedOutKey, KEY_DIGEST_BYTES } from './packs-key.ts'

/** Where an object lies: the contents of a record. Empty objects lie nowhere. */
export interface Place {
  /** The number of the pack. */
  pack: number
  /** Of the first byte of what is stored. */
  offset: number
  /** Bytes. */
  stored: number
}

/** An object that is to become visible. */
export interface IndexEntry {
  readonly key: Buffer
  /** `undefined`: it is empty. */
  readonly place: Place | undefined
}

const PLACE_BYTES = 4 + 4 + 8
const NOWHERE = Buffer.alloc(0)

/**
 * Which objects there are and where they lie: encoded key → number of the pack, length of what is stored, and offset, 4, 4 and
 * 8 bytes, little endian. What is not in it does not exist, whatever is in the packs.
 */
export class PacksIndex implements AsyncDisposable {
  readonly #path: string
  readonly #table: LmdbTable

  static async open(path: string): Promise<PacksIndex> {
    return new PacksIndex(path, await openLmdbTable(path, 'objects'))
  }

  private constructor(path: string, table: LmdbTable) {
    this.#path = path
    this.#table = table
  }

  has(key: Buffer): boolean {
    return this.#table.find(key) !== undefined
  }

  /** Fills in `place`, with 0 bytes stored for an empty object; false when there is no such object. */
  find(key: Buffer, place: Place): boolean {
    const value = this.#table.find(key)
    if (value === undefined) return false
    if (value.length === 0) {
      place.stored = 0
      return true
    }
    if (value.length !== PLACE_BYTES)
      throw new StoreError('corrupt', `${this.#table.name} has no place of a pack for ${decodeKey(key)}`)
    place.pack = value.readUInt32LE(0)
    place.stored = value.readUInt32LE(4)
    place.offset = value.readUInt32LE(8) + value.readUInt32LE(12) * 2 ** 32
    return true
  }

  /** All at once, durably. */
  async add(entries: readonly IndexEntry[]): Promise<void> {
    const values = Buffer.alloc(entries.length * PLACE_BYTES)
    const added = entries.map(({ key, place }, i): LmdbEntry => {
      if (!place) return { key, value: NOWHERE }
      const value = values.subarray(i * PLACE_BYTES, (i + 1) * PLACE_BYTES)
      value.writeUInt32LE(place.pack, 0)
      value.writeUInt32LE(place.stored, 4)
      value.writeBigUInt64LE(BigInt(place.offset), 8)
      return { key, value }
    })
    await this.#explained(() => this.#table.put(added))
  }

  async remove(key: Buffer): Promise<void> {
    await this.#explained(() => this.#table.remove([key]))
  }

  async *list(prefix: string, call?: Call): AsyncGenerator<string> {
    throwIfAborted(call?.signal)
    for (const from of encodedPrefixes(prefix)) yield* this.#listFrom(from, prefix, call)
  }

  async *#listFrom(from: Buffer, prefix: string, call?: Call): AsyncGenerator<string> {
    for (let previous: Uint8Array | undefined; ; ) {
      const page = this.#table.page(previous, OBJECT_LIST_PAGE, from)
      for (const { key } of page) {
        throwIfAborted(call?.signal)
        if (!from.equals(key.subarray(0, from.length))) return
        const decoded = decodeKey(key)
        // Half a byte of digits is left to compare.
        if (decoded.startsWith(prefix)) yield decoded
      }
      if (page.length < OBJECT_LIST_PAGE) return
      previous = page.at(-1)!.key
    }
  }

  /**
   * A look-up of the places of all keys `<prefix>/<4 hex>/<64 hex>`, by the 32 bytes at their end. Never throws: what it does not
   * find is asked for in the usual way, which tells what is wrong.
   */
  placesBelow(prefix: string): { find(digest: Uint8Array, place: Place): boolean } {
    const key = fannedOutKey(prefix)
    const at = prefix.length + 1
    return {
      find: (digest, place) => {
        key.set(digest, at)
        try {
          return this.find(key, place) && place.stored > 0
        } catch {
          return false
        }
      },
    }
  }

  /** Which of these keys there are, named as for `placesBelow`: a microsecond each. */
  hasBelow(prefix: string, digests: Uint8Array): Uint8Array {
    const key = fannedOutKey(prefix)
    const at = prefix.length + 1
    const answers = new Uint8Array(digests.length / KEY_DIGEST_BYTES)
    for (let i = 0; i < answers.length; i++) {
      key.set(digests.subarray(i * KEY_DIGEST_BYTES, (i + 1) * KEY_DIGEST_BYTES), at)
      answers[i] = this.has(key) ? 1 : 0
    }
    return answers
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#table[Symbol.asyncDispose]()
  }

  async #explained(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      throw await explainedCommit(this.#path, error)
    }
  }
}

/** Why LMDB could not commit, in the words for any other file. When it could write a part only, it says EIO. */
async function explainedCommit(path: string, error: unknown): Promise<unknown> {
  const { cause } = error as StoreError
  const errno = (cause as { code?: unknown } | undefined)?.code
  if (typeof errno !== 'number' || errno <= 0) return error
  const { bavail, bsize } = await statfs(path)
  const isFull = errno === constants.errno.EIO && bavail * bsize < INDEX_FREE_BYTES_MIN
  const code = isFull ? 'ENOSPC' : getSystemErrorName(-errno)
  return fileError(
    `writing ${path}`,
    Object.assign(new Error((error as Error).message), { code, errno: -errno }),
  )
}
