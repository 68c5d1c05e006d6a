import { getSystemErrorName } from 'node:util'
import { StoreError } from '../../support/errors.ts'
import type { InodeNumber, LocalChunkSource, Tree } from '../tree/interface.ts'
import { ReadPlan } from '../tree/read-plan.ts'
import { type NativeAddon, nativeAddon, type Reader } from './native-addon.ts'

/** What READ asks for, without the buffer that it came in. */
export interface ReadRequest {
  readonly uniqueLow: number
  readonly uniqueHigh: number
  readonly nodeid: InodeNumber
  readonly offset: number
  readonly size: number
}

/** What `readChunks` of the addon says when a thread is at it. */
const TAKEN = 1

/**
 * Threads of the addon that answer reads from chunks of the local disk. They verify what they send, themselves: bytes that take
 * this way pass no service. Of a raw file that is known to be right they only verify that it is still the same.
 */
export class ChunkReader {
  readonly #addon: NativeAddon = nativeAddon()
  readonly #tree: Tree
  readonly #source: LocalChunkSource
  readonly #plan: ReadPlan
  #reader: Reader | undefined
  #bytes = 0

  /** `device`: as NativePageFiller. `failed` gets what the threads could not answer; it is still to be answered. */
  constructor(device: number, source: LocalChunkSource, tree: Tree, failed: (read: ReadRequest) => void) {
    const { kind, folder } = source
    const reader = this.#addon.startReader(
      device,
      kind,
      folder,
      (uniqueLow, uniqueHigh, nodeid, offset, size) =>
        failed({ uniqueLow, uniqueHigh, nodeid, offset, size }),
    )
    if (typeof reader === 'number')
      throw new StoreError('unavailable', `reading from ${folder}: ${getSystemErrorName(reader)}`)
    this.#tree = tree
    this.#source = source
    this.#plan = new ReadPlan(source)
    this.#reader = reader
  }

  /**
   * Takes a READ whose chunks are known. `answered`: the kernel has the bytes; `taken`: a thread is at it, and nobody else need
   * be unless `failed` says so.
   */
  read({ uniqueLow, uniqueHigh, nodeid, offset, size }: ReadRequest): 'answered' | 'taken' | undefined {
    if (!this.#reader) return undefined
    if (!this.#tree.planRead?.(nodeid, offset, size, this.#plan)) return undefined
    if (this.#source.kind === 'packs') this.#plan.locate(this.#source.places)
    const plan = this.#plan.finish(uniqueLow, uniqueHigh, nodeid, offset, size)
    const outcome = this.#addon.readChunks(this.#reader, plan)
    // What was answered on the spot is small, and thousands of such files come one after the other.
    if (outcome > 0) this.#readAhead(this.#reader, nodeid, offset, size)
    return outcome < 0 ? undefined : outcome === TAKEN ? 'taken' : 'answered'
  }

  /**
   * The kernel asks for 1 MiB ahead of whoever reads in order, and one thread verifies that in the time in which two others could verify
   * what comes after it.
   */
  #readAhead(reader: Reader, inode: InodeNumber, offset: number, size: number): void {
    const plan = this.#plan
    if (!this.#tree.planAhead?.(inode, offset, size, plan) || !plan.hasChunks) return
    if (this.#source.kind === 'packs') plan.locate(this.#source.places)
    this.#addon.keepAhead(reader, plan.finish(0, 0, 0, 0, 0))
  }

  /** What the kernel was given. */
  get bytes(): number {
    if (this.#reader) this.#bytes = this.#addon.readerBytes(this.#reader)
    return this.#bytes
  }

  /** After the mount is gone: what still waits is not answered. */
  async close(): Promise<void> {
    const reader = this.#reader
    if (!reader) return
    this.#bytes = this.#addon.readerBytes(reader)
    this.#reader = undefined
    await this.#addon.stopReader(reader)
  }
}
