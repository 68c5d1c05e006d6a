import { OBJECT_LARGE_BATCHES_MAX, PACK_ROOM_BYTES } from '../../support/limits.ts'

/**
 * Memory in which runs of records are laid out. While large ones follow each other theirs is used again: new memory would
 * have to be fetched from the kernel page by page. A store that has nothing to do keeps none.
 */
export class RunRooms {
  readonly #free: Buffer[] = []
  readonly #inUse = new Set<ArrayBufferLike>()

  /** At least `bytes` of it, to be given back. */
  take(bytes: number): Buffer {
    if (bytes <= PACK_ROOM_BYTES / 4 || bytes > PACK_ROOM_BYTES) return Buffer.allocUnsafeSlow(bytes)
    const room = this.#free.pop() ?? Buffer.allocUnsafeSlow(PACK_ROOM_BYTES)
    this.#inUse.add(room.buffer)
    return room
  }

  /** A room, or a part of it, that nobody reads any more. */
  giveBack({ buffer }: Uint8Array): void {
    if (!this.#inUse.delete(buffer)) return
    if (this.#inUse.size === 0) this.#free.length = 0
    else if (this.#free.length < OBJECT_LARGE_BATCHES_MAX) this.#free.push(Buffer.from(buffer as ArrayBuffer))
  }
}
