import { BufferRooms } from '../../support/buffer-rooms.ts'
import {
  BLOB_PORTION_CHUNKS,
  BLOB_PORTION_SMALL_UNITS,
  BLOB_PORTIONS_OF_ALL_MAX,
} from '../../support/limits.ts'

/** A part of a blob in memory, with room before it for what the part before left over. */
export class Portion {
  /** Of the places that one writer has. */
  readonly units: number
  readonly #buffer: Buffer
  readonly #room: number
  readonly #freed: ((reusable: Buffer | undefined) => void)[]
  #end: number
  #users = 1
  #isSpoiled = false

  /** `room`: bytes before the part. `freed`: called when all are done with it. */
  constructor(buffer: Buffer, room: number, units: number, freed: (reusable: Buffer | undefined) => void) {
    this.units = units
    this.#buffer = buffer
    this.#room = room
    this.#end = room
    this.#freed = [freed]
  }

  onFree(callback: () => void): void {
    this.#freed.push(callback)
  }

  /** Bytes. */
  get roomLeft(): number {
    return this.#buffer.length - this.#end
  }

  /** Copies as much as there is room for, and tells how much that was. */
  fill(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.roomLeft)
    this.#buffer.set(taken, this.#end)
    this.#end += taken.length
    return taken.length
  }

  /** What is in it, behind what was left of the portion before. */
  behind(left: Uint8Array): Uint8Array {
    const start = this.#room - left.length
    this.#buffer.set(left, start)
    return this.#buffer.subarray(start, this.#end)
  }

  retain(): void {
    this.#users++
  }

  release(): void {
    if (--this.#users > 0) return
    for (const callback of this.#freed) callback(this.#isSpoiled ? undefined : this.#buffer)
  }

  /** Nobody knows who still reads it: its memory must not be used again. */
  spoil(): void {
    this.#isSpoiled = true
  }
}

/**
 * The portions of all blobs that are being written. Their memory is used again and again: new memory would have to be
 * fetched from the kernel page by page, and collected.
 */
export class PortionPool {
  readonly #chunkBytesMax: number
  readonly #rooms: BufferRooms
  #inUse = 0

  constructor(chunkBytesMax: number) {
    this.#chunkBytesMax = chunkBytesMax
    this.#rooms = new BufferRooms({
      bytes: (1 + BLOB_PORTION_CHUNKS) * chunkBytesMax,
      busyMax: BLOB_PORTIONS_OF_ALL_MAX,
      idleMax: 0,
    })
  }

  /** Never waits, since everybody might then wait for everybody: who comes too late gets a smaller one. */
  take(): Portion {
    const room = this.#chunkBytesMax
    if (this.#inUse >= BLOB_PORTIONS_OF_ALL_MAX)
      return new Portion(Buffer.allocUnsafeSlow(2 * room), room, BLOB_PORTION_SMALL_UNITS, () => {})
    this.#inUse++
    const buffer = this.#rooms.take((1 + BLOB_PORTION_CHUNKS) * room)
    return new Portion(buffer, room, 1, (reusable) => {
      this.#inUse--
      if (reusable) this.#rooms.giveBack(reusable)
    })
  }
}
