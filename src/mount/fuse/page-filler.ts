import { getSystemErrorName } from 'node:util'
import { StoreError } from '../../support/errors.ts'
import { FILL_RECORD, locateRecords } from '../tree/fill-ahead.ts'
import type { LocalChunkSource, PageFiller } from '../tree/interface.ts'
import { type Filler, type NativeAddon, nativeAddon } from './native-addon.ts'
import type { FillCounts } from './stats.ts'

/**
 * Threads of the addon that put chunks of the local disk into the page cache of a mount. They verify what they push,
 * themselves: bytes that take this way pass no service.
 */
export class NativePageFiller implements PageFiller {
  readonly #addon: NativeAddon = nativeAddon()
  readonly #counts = new BigUint64Array(3)
  readonly #source: LocalChunkSource
  #filler: Filler | undefined
  #hasRoom: () => void = () => {}

  /** `device`: the mount's descriptor. */
  constructor(device: number, source: LocalChunkSource) {
    const filler = this.#addon.startFiller(device, source.kind, source.folder, () => this.#hasRoom())
    if (typeof filler === 'number')
      throw new StoreError(
        'unavailable',
        `reading ahead from ${source.folder}: ${getSystemErrorName(filler)}`,
      )
    this.#source = source
    this.#filler = filler
  }

  onRoom(hasRoom: () => void): void {
    this.#hasRoom = hasRoom
  }

  fill(records: Uint8Array, isUrgent: boolean): boolean {
    if (!this.#filler) return false
    // Asked first, since looking up the places of what is not taken would be done again and again.
    if (!isUrgent && !this.#addon.mayFill(this.#filler, records.length / FILL_RECORD.bytes)) return false
    if (this.#source.kind === 'packs') locateRecords(this.#source.places, records)
    const outcome = this.#addon.fill(this.#filler, records, isUrgent)
    if (outcome === 0) return true
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
