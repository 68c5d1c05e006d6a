import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'

/** What lives in a slot. */
export const SLOT_KIND = { dead: 0, directory: 1, file: 2, executable: 3, symlink: 4 } as const
export type SlotKind = (typeof SLOT_KIND)[keyof typeof SLOT_KIND]

/**
 * Addresses are reserved for so many times what is there at first. Within them arrays grow where they are: moved to larger
 * ones, they would need twice the memory for a moment, and the holes that they leave are given back late or never.
 */
const ROOM = 64

/**
 * The fields of all inodes, a typed array for each: 81 bytes an inode, where an object and its place in a Map
 * would take several hundred.
 */
export class InodeColumns {
  #capacity: number
  readonly #capacityMax: number
  /** `SlotKind` */
  readonly kind: Uint8Array<ArrayBuffer>
  /** How many inodes had this slot before. */
  readonly generation: Uint32Array<ArrayBuffer>
  /** References that the kernel holds. */
  readonly references: Float64Array<ArrayBuffer>
  readonly size: BigUint64Array<ArrayBuffer>
  readonly ino: BigUint64Array<ArrayBuffer>
  /** Of the blob, of the directory, of the symlink's target; 32 bytes a slot. */
  readonly digests: Uint8Array<ArrayBuffer>
  /** Files and directories: number of the directory they were (first) found in. Symlinks: offset of the target. */
  readonly parent: Float64Array<ArrayBuffer>
  /** Directories: position among the entries of the parent. */
  readonly position: Uint32Array<ArrayBuffer>
  /** The next slot of the same hash bucket, or of the dead ones. */
  readonly next: Uint32Array<ArrayBuffer>

  constructor(capacity: number, from?: InodeColumns) {
    this.#capacity = capacity
    this.#capacityMax = capacity * ROOM
    this.kind = new Uint8Array(growing(capacity))
    this.generation = new Uint32Array(growing(capacity * 4))
    this.references = new Float64Array(growing(capacity * 8))
    this.size = new BigUint64Array(growing(capacity * 8))
    this.ino = new BigUint64Array(growing(capacity * 8))
    this.digests = new Uint8Array(growing(capacity * BLAKE3_BYTES))
    this.parent = new Float64Array(growing(capacity * 8))
    this.position = new Uint32Array(growing(capacity * 4))
    this.next = new Uint32Array(growing(capacity * 4))
    if (from) this.#copy(from)
  }

  get capacity(): number {
    return this.#capacity
  }

  /** Room for `capacity` slots: here, or in new columns when there is none behind these. */
  grown(capacity: number): InodeColumns {
    if (capacity > this.#capacityMax) return new InodeColumns(capacity, this)
    for (const column of this.#all()) {
      const each = column.byteLength / this.#capacity
      column.buffer.resize(capacity * each)
    }
    this.#capacity = capacity
    return this
  }

  digest(slot: number): Uint8Array {
    return this.digests.subarray(slot * BLAKE3_BYTES, (slot + 1) * BLAKE3_BYTES)
  }

  hasDigest(slot: number, digest: Uint8Array): boolean {
    const start = slot * BLAKE3_BYTES
    for (let i = 0; i < BLAKE3_BYTES; i++) if (this.digests[start + i] !== digest[i]) return false
    return true
  }

  #copy(from: InodeColumns): void {
    const columns = from.#all()
    for (const [i, column] of this.#all().entries()) bytesOf(column).set(bytesOf(columns[i]!))
  }

  #all() {
    const { kind, generation, references, size, ino, digests, parent, position, next } = this
    return [kind, generation, references, size, ino, digests, parent, position, next]
  }
}

function growing(bytes: number): ArrayBuffer {
  return new ArrayBuffer(bytes, { maxByteLength: bytes * ROOM })
}

function bytesOf({ buffer }: { readonly buffer: ArrayBuffer }): Uint8Array {
  return new Uint8Array(buffer)
}
