import { countBuffers, countOldBuffers } from './buffer-garbage.ts'
import { ROOMS_IDLE_MS } from './limits.ts'

export interface RoomLimits {
  /** Of each room. What is larger, or a quarter of it, is given memory of its own. */
  readonly bytes: number
  /** Rooms that are kept for the next while others are in use … */
  readonly busyMax: number
  /** … and when none has been for a moment. */
  readonly idleMax: number
}

/**
 * Memory that many large buffers of a kind have one after the other, as whoever is done with one gives it back. New memory
 * would have to be fetched from the kernel page by page, collected, and be in no cache of the processor. What is never given
 * back is collected like anything else.
 */
export class BufferRooms {
  readonly #limits: RoomLimits
  readonly #free: Buffer[] = []
  readonly #lent = new WeakSet<ArrayBufferLike>()
  #inUse = 0
  #idle: NodeJS.Timeout | undefined

  constructor(limits: RoomLimits) {
    this.#limits = limits
  }

  /** At least `bytes` of it, to be given back. */
  take(bytes: number): Buffer {
    const { bytes: roomBytes } = this.#limits
    if (bytes <= roomBytes / 4 || bytes > roomBytes) return countedBuffer(bytes)
    const room = this.#free.pop() ?? countedBuffer(roomBytes)
    this.#lent.add(room.buffer)
    this.#inUse++
    return room
  }

  /** A room, or a part of it, that nobody reads or writes any more. Any other bytes stay what they are. */
  giveBack({ buffer }: Uint8Array): void {
    if (!this.#lent.delete(buffer)) return
    this.#inUse--
    this.#free.push(Buffer.from(buffer as ArrayBuffer))
    const { busyMax, idleMax } = this.#limits
    this.#keep(busyMax)
    if (this.#inUse === 0 && idleMax < busyMax) this.#idle ??= setTimeout(this.#onIdle, ROOMS_IDLE_MS).unref()
  }

  /** Not at once: what comes piece by piece leaves all of them unused for moments, and whoever stores one blob stores another. */
  readonly #onIdle = () => {
    this.#idle = undefined
    if (this.#inUse === 0) this.#keep(this.#limits.idleMax)
  }

  #keep(max: number): void {
    // They have grown old: what collects young garbage would leave them.
    if (this.#free.length > max) countOldBuffers(this.#limits.bytes * this.#free.splice(max).length)
  }
}

/** Memory of its own for bulk data on its way through, of which whoever collects garbage is told. */
export function countedBuffer(bytes: number): Buffer {
  countBuffers(bytes)
  return Buffer.allocUnsafeSlow(bytes)
}
