import { countBuffers } from './buffer-garbage.ts'
import { ROOMS_IDLE_MS } from './limits.ts'

export interface RoomLimits {
  /** Of each room. What is larger, or a quarter of it, is given memory of its own. */
  readonly bytes: number
  /** Rooms that are kept for the next while they are wanted … */
  readonly busyMax: number
  /** … and when nobody has wanted them for a moment. */
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
  /** Rooms that were free all the time since the timer was set. */
  #unwanted = 0
  #idle: NodeJS.Timeout | undefined

  constructor(limits: RoomLimits) {
    this.#limits = limits
  }

  /** How many wait for the next. */
  get free(): number {
    return this.#free.length
  }

  /** At least `bytes` of it, to be given back. */
  take(bytes: number): Buffer {
    const { bytes: roomBytes } = this.#limits
    if (bytes <= roomBytes / 4 || bytes > roomBytes) return made(bytes)
    const room = this.#free.pop() ?? made(roomBytes)
    this.#unwanted = Math.min(this.#unwanted, this.#free.length)
    this.#lent.add(room.buffer)
    return room
  }

  /**
   * A room, or a part of it, that nobody reads or writes any more. Any other bytes stay what they are. Whatever part of it
   * somebody still has is empty from now on: were it used by mistake, no bytes of others could be taken for its own.
   */
  giveBack({ buffer }: Uint8Array): void {
    if (!this.#lent.delete(buffer)) return
    this.#free.push(Buffer.from((buffer as ArrayBuffer).transfer()))
    this.#keep(this.#limits.busyMax)
    this.#watch()
  }

  /** Not at once: what comes piece by piece leaves all of them unused for moments, and whoever stores one blob stores another. */
  readonly #onIdle = () => {
    this.#idle = undefined
    this.#keep(Math.max(this.#limits.idleMax, this.#free.length - this.#unwanted))
    this.#watch()
  }

  #watch(): void {
    if (this.#idle || this.#free.length <= this.#limits.idleMax) return
    this.#unwanted = this.#free.length
    this.#idle = setTimeout(this.#onIdle, ROOMS_IDLE_MS).unref()
  }

  /** Those that were used last. The others are freed here and now: they have grown old, and would be garbage for long. Nobody else can see them. */
  #keep(max: number): void {
    const dropped = this.#free.splice(0, Math.max(0, this.#free.length - max))
    for (const { buffer } of dropped) (buffer as ArrayBuffer).transfer(0)
  }
}

/** Rooms of several sizes, for buffers of which each is to have little more memory than it needs. */
export class GradedRooms {
  readonly #grades: readonly { readonly bytes: number; readonly rooms: BufferRooms }[]

  /** `sizes`: of the rooms, ascending. What is larger, or far smaller, is given memory of its own. */
  constructor(sizes: readonly number[], limits: Omit<RoomLimits, 'bytes'>) {
    this.#grades = sizes.map((bytes) => ({ bytes, rooms: new BufferRooms({ bytes, ...limits }) }))
  }

  /** One that is free and a size too large rather than a new one: how many are free of a size varies with what is wanted. */
  take(bytes: number): Buffer {
    const i = this.#grades.findIndex((each) => bytes <= each.bytes)
    if (i < 0) return made(bytes)
    const [own, larger] = [this.#grades[i]!, this.#grades[i + 1]]
    const isBetter = own.rooms.free === 0 && larger && larger.rooms.free > 0 && larger.bytes <= 2 * own.bytes
    return (isBetter ? larger : own).rooms.take(bytes)
  }

  giveBack(piece: Uint8Array): void {
    const { byteLength } = piece.buffer
    this.#grades.find(({ bytes }) => bytes === byteLength)?.rooms.giveBack(piece)
  }
}

function made(bytes: number): Buffer {
  countBuffers(bytes)
  return Buffer.allocUnsafeSlow(bytes)
}
