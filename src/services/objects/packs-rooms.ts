import { OBJECT_LARGE_BATCHES_MAX, PACK_ROOM_BYTES } from '../../support/limits.ts'
import { packsAddon } from './native-packs.ts'
import { PAGE_BYTES } from './packs-format.ts'

/**
 * Memory in which runs of records are laid out. While large ones follow each other theirs is used again: new memory would
 * have to be fetched from the kernel page by page. A store that has nothing to do keeps none.
 */
export class RunRooms {
  readonly #free: Buffer[] = []
  readonly #inUse = new Map<ArrayBufferLike, Buffer>()

  /** At least `bytes` of it, to be given back. */
  take(bytes: number): Buffer {
    if (bytes <= PACK_ROOM_BYTES / 4 || bytes > PACK_ROOM_BYTES) return Buffer.allocUnsafeSlow(bytes)
    const room = this.#free.pop() ?? roomOfPages()
    this.#inUse.set(room.buffer, room)
    return room
  }

  /** Whether it is one of those that are used again, which begin where a page of memory does. */
  isKept({ buffer }: Uint8Array): boolean {
    return this.#inUse.has(buffer)
  }

  /** A room, or a part of it, that nobody reads any more. */
  giveBack({ buffer }: Uint8Array): void {
    const room = this.#inUse.get(buffer)
    if (!room) return
    this.#inUse.delete(buffer)
    if (this.#inUse.size === 0) this.#free.length = 0
    else if (this.#free.length < OBJECT_LARGE_BATCHES_MAX) this.#free.push(room)
  }
}

function roomOfPages(): Buffer {
  const bytes = Buffer.allocUnsafeSlow(PACK_ROOM_BYTES + PAGE_BYTES)
  const lead = packsAddon?.lead(bytes) ?? 0
  return bytes.subarray(lead, lead + PACK_ROOM_BYTES)
}
