import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'

/** What lives in a slot. */
export const SLOT_KIND = { dead: 0, directory: 1, file: 2, executable: 3, symlink: 4 } as const
export type SlotKind = (typeof SLOT_KIND)[keyof typeof SLOT_KIND]

/**
 * The fields of all inodes, a typed array for each: 81 bytes an inode, where an object and its place in a Map
 * would take several hundred.
 */
export class InodeColumns {
  readonly capacity: number
  /** `SlotKind` */
  readonly kind: Uint8Array
  /** How many inodes had this slot before. */
  readonly generation: Uint32Array
  /** References that the kernel holds. */
  readonly references: Float64Array
  readonly size: BigUint64Array
  readonly ino: BigUint64Array
  /** Of the blob, of the directory, of the symlink's target; 32 bytes a slot. */
  readonly digests: Uint8Array
  /** Files and directories: number of the directory they were (first) found in. Symlinks: offset of the target. */
  readonly parent: Float64Array
  /** Directories: position among the entries of the parent. */
  readonly position: Uint32Array
  /** The next slot of the same hash bucket, or of the dead ones. */
  readonly next: Uint32Array

  constructor(capacity: number, from?: InodeColumns) {
    this.capacity = capacity
    this.kind = new Uint8Array(capacity)
    this.generation = new Uint32Array(capacity)
    this.references = new Float64Array(capacity)
    this.size = new BigUint64Array(capacity)
    this.ino = new BigUint64Array(capacity)
    this.digests = new Uint8Array(capacity * BLAKE3_BYTES)
    this.parent = new Float64Array(capacity)
    this.position = new Uint32Array(capacity)
    this.next = new Uint32Array(capacity)
    if (from) this.#copy(from)
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
    this.kind.set(from.kind)
    this.generation.set(from.generation)
    this.references.set(from.references)
    this.size.set(from.size)
    this.ino.set(from.ino)
    this.digests.set(from.digests)
    this.parent.set(from.parent)
    this.position.set(from.position)
    this.next.set(from.next)
  }
}
