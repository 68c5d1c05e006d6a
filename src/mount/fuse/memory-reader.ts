import { FUSE_READ_BYTES_MAX, MEMORY_READS_MAX } from '../../support/limits.ts'
import type { LocalChunkSource, Soon } from '../tree/interface.ts'
import type { PlannedReads } from '../tree/planned-reads.ts'
import type { ReadPlan } from '../tree/read-plan.ts'
import { type NativeAddon, nativeAddon, type Reader } from './native-addon.ts'

/**
 * Threads of the addon that read chunks of the local disk, as those of ChunkReader do, for whoever answers by other ways than
 * the FUSE device. Their buffers are used again and again: buffers that V8 has to get rid of cost more than
 * the reads.
 */
export class MemoryReader implements PlannedReads, AsyncDisposable {
  readonly #addon: NativeAddon = nativeAddon()
  readonly #free: Uint8Array[] = []
  readonly #waiting = new Map<number, (isFilled: boolean) => void>()
  readonly source: LocalChunkSource
  #reader: Reader | undefined
  #isClosed = false
  #buffers = 0
  #tickets = 0

  constructor(source: LocalChunkSource) {
    this.source = source
  }

  read(plan: ReadPlan, size: number): Soon<Uint8Array | undefined> | undefined {
    const reader = this.#begun()
    const buffer = reader && size <= FUSE_READ_BYTES_MAX ? this.#takeBuffer() : undefined
    if (!reader || !buffer) return undefined
    // The addon tells of it as a number of 32 bits, and nothing waits for four billion reads.
    const ticket = this.#tickets
    this.#tickets = (ticket + 1) >>> 0
    if (this.source.kind === 'packs') plan.locate(this.source.places)
    const outcome = this.#addon.readInto(reader, plan.finish(ticket, 0, 0, 0, size), buffer)
    if (outcome === 0) return this.#later(ticket, buffer, size)
    this.#free.push(buffer)
    return outcome === 1 ? buffer.subarray(0, size) : undefined
  }

  /**
   * So that the reads that come are answered on the spot: a guest asks for the next piece while it works on the last one. Not at
   * once, since that one is about to be answered, and threads that begin now would be in the way.
   */
  keepAhead(plan: ReadPlan): void {
    if (!this.#reader) return
    if (this.source.kind === 'packs') plan.locate(this.source.places)
    // The plan is used again before.
    const wanted = plan.finish(0, 0, 0, 0, 0).slice()
    setImmediate(() => {
      if (this.#reader) this.#addon.keepAhead(this.#reader, wanted)
    })
  }

  #begun(): Reader | undefined {
    if (this.#reader || this.#isClosed) return this.#reader
    const { kind, folder } = this.source
    const reader = this.#addon.startMemoryReader(kind, folder, (ticket, isFilled) => {
      this.#waiting.get(ticket)!(isFilled)
      this.#waiting.delete(ticket)
    })
    // Where it cannot be done it is done without: reading in the usual way tells what is wrong.
    if (typeof reader !== 'number') this.#reader = reader
    return this.#reader
  }

  async #later(ticket: number, buffer: Uint8Array, size: number): Promise<Uint8Array | undefined> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiting.set(ticket, resolve)
    const isFilled = await promise
    // Whoever waits for it gets to it before the event loop turns.
    setImmediate(() => this.#free.push(buffer))
    return isFilled ? buffer.subarray(0, size) : undefined
  }

  #takeBuffer(): Uint8Array | undefined {
    const free = this.#free.pop()
    if (free || this.#buffers === MEMORY_READS_MAX) return free
    this.#buffers++
    return Buffer.allocUnsafeSlow(FUSE_READ_BYTES_MAX)
  }

  /** Resolves when no thread is left; what waits gets no answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    const reader = this.#reader
    this.#isClosed = true
    this.#reader = undefined
    if (reader) await this.#addon.stopReader(reader)
  }
}
