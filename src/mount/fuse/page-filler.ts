import { getSystemErrorName } from 'node:util'
import { StoreError } from '../../support/errors.ts'
import { FILL_RECORD, locateEvery, locateRecords } from '../tree/fill-ahead.ts'
import type { LocalChunkSource, PageFiller } from '../tree/interface.ts'
import { type Filler, type NativeAddon, nativeAddon } from './native-addon.ts'
import type { FillCounts } from './stats.ts'

/** Files that were looked for behind others before that is given up, when most of them were not there. */
const GUESSES_ENOUGH = 4 * 128

/** Records that lie in one piece of a pack, if their directory was stored at once (GROUP of native/page_push.h). */
export const FILL_GROUP = 128

/** So many files are worth reading a piece of a pack for. */
const NEIGHBOURS_MIN = 16

/** Whether the first record has a place. */
function isLocated(records: Uint8Array): boolean {
  return records.subarray(FILL_RECORD.place, FILL_RECORD.bytes).some((byte) => byte !== 0)
}

type PackedChunks = Extract<LocalChunkSource, { readonly kind: 'packs' }>

/** Whether files of a directory are found behind one another, as they are where it was stored at once. */
class Guesses {
  #made = 0
  #wrong = 0

  get areWorthIt(): boolean {
    return this.#made < GUESSES_ENOUGH || this.#wrong * 2 < this.#made
  }

  made(count: number): void {
    this.#made += count
  }

  wrong(count: number): void {
    this.#wrong += count
  }
}

/**
 * Threads of the addon that put chunks of the local disk into the page cache of a mount. They verify what they push,
 * themselves: bytes that take this way pass no service.
 */
export class NativePageFiller implements PageFiller {
  readonly #addon: NativeAddon = nativeAddon()
  readonly #counts = new BigUint64Array(3)
  readonly #packs: PackedChunks | undefined
  readonly #guesses = new Guesses()
  #filler: Filler | undefined
  #hasRoom: () => void = () => {}

  /** `device`: the mount's descriptor. */
  constructor(device: number, source: LocalChunkSource) {
    const filler = this.#addon.startFiller(device, source.kind, source.folder, (notFound) =>
      this.#told(notFound),
    )
    if (typeof filler === 'number')
      throw new StoreError(
        'unavailable',
        `reading ahead from ${source.folder}: ${getSystemErrorName(filler)}`,
      )
    this.#packs = source.kind === 'packs' ? source : undefined
    this.#filler = filler
  }

  /** Threads are at work, or about to be. */
  get isBusy(): boolean {
    return this.#filler !== undefined && this.#addon.isFilling(this.#filler)
  }

  onRoom(hasRoom: () => void): void {
    this.#hasRoom = hasRoom
  }

  fill(records: Uint8Array, isUrgent: boolean): boolean {
    if (!this.#filler) return false
    // Asked first, since looking up the places of what is not taken would be done again and again.
    const count = records.length / FILL_RECORD.bytes
    if (!isUrgent && !this.#addon.mayFill(this.#filler, count)) return false
    const { places } = this.#packs ?? {}
    const neighbours = places !== undefined && this.#guesses.areWorthIt
    if (neighbours) {
      this.#guesses.made(count)
      locateEvery(FILL_GROUP, places, records)
    } else if (places) locateRecords(places, records)
    this.#hand(records, isUrgent, neighbours)
    return true
  }

  /** There is room again, or files were not found behind the first of their group. */
  #told(notFound: Uint8Array | undefined): void {
    if (!notFound) {
      this.#hasRoom()
      return
    }
    const { places } = this.#packs!
    const count = notFound.length / FILL_RECORD.bytes
    // A directory that is stored in several places has another group where the first of these lies.
    const neighbours = count >= NEIGHBOURS_MIN && !isLocated(notFound)
    if (neighbours) locateEvery(FILL_GROUP, places, notFound)
    else {
      this.#guesses.wrong(count)
      locateRecords(places, notFound)
    }
    this.#hand(notFound, true, neighbours)
  }

  #hand(records: Uint8Array, isUrgent: boolean, neighbours: boolean): void {
    const outcome = this.#addon.fill(this.#filler!, records, isUrgent, neighbours)
    if (outcome !== 0)
      throw new StoreError('internal', `filling the page cache: ${getSystemErrorName(outcome)}`)
  }

  get counts(): FillCounts {
    if (this.#filler) this.#addon.fillerCounts(this.#filler, this.#counts)
    const [files = 0, bytes = 0, failed = 0] = Array.from(this.#counts, Number)
    return { files, bytes, failed }
  }

  /**
   * Resolves when no thread touches the device any more. Reads must be answered until then: a thread may be waiting
   * for pages that a read holds.
   */
  async close(): Promise<void> {
    const filler = this.#filler
    if (!filler) return
    this.#addon.fillerCounts(filler, this.#counts)
    this.#filler = undefined
    await this.#addon.stopFiller(filler)
  }
}
