import { OBJECT_BATCHES_MAX, PACK_ROOM_BYTES } from '../../support/limits.ts'

/**
 * Memory in which runs of records are laid out. That of large ones is used again: new memory would have to be fetched from
 * the kernel page by page for every few MiB of an upload.
 */
export class RunRooms {
  readonly #free: Buffer[] = []

  /** At least `bytes` of it. */
  take(bytes: number): Buffer {
    if (bytes <= PACK_ROOM_BYTES / 4 || bytes > PACK_ROOM_BYTES) return Buffer.allocUnsafeSlow(bytes)
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(PACK_ROOM_BYTES)
  }

  /** `room`, or a part of it, when nobody reads it any more. */
  giveBack(room: Uint8Array): void {
    if (room.buffer.byteLength === PACK_ROOM_BYTES && this.#free.length < OBJECT_BATCHES_MAX)
      this.#free.push(Buffer.from(room.buffer as ArrayBuffer))
  }
}
