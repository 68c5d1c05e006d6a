import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import type { DirectoryNode, FileNode, Node, SymlinkNode } from '../../model/castore/node.ts'
import { SYMLINK_TARGET_BYTES_MAX } from '../../support/limits.ts'
import { ByteArena } from './byte-arena.ts'
import { contentIno, placeIno, ROOT_INO } from './identity.ts'
import { InodeColumns, SLOT_KIND, type SlotKind } from './inode-columns.ts'
import type { InodeTables } from './inode-tables.ts'
import { type Attributes, type InodeNumber, type TreeEntry, TreeFault } from './interface.ts'

export const ROOT_INODE: InodeNumber = 1

/**
 * A number is generation × 2^28 + slot, which makes 2^53 numbers: finding the slot takes no map, and a number
 * is never given out twice. A slot that has run through its generations is not used again.
 */
const SLOTS = 2 ** 28
const GENERATION_MAX = 2 ** 25 - 1
const INITIAL_CAPACITY = 4096
/** A power of two, as is their number ever after: 256 KiB, so that no walk of an ordinary closure has to hash anew what it found. */
const INITIAL_BUCKETS = 65_536
/** A table that was just enlarged has room for this many times its inodes. */
const GROWTH = 1.25
/** Where in `#counters` what is counted; `targets` are the two of their arena. As native/inode_table.c. */
const COUNTER = { end: 0, dead: 1, count: 2, seed: 3, targets: 4 } as const
const COUNTERS = COUNTER.targets + 2

/** Slot 0 ends the chains, slot 1 is the root. */
const FIRST_SLOT = 2

/**
 * The inodes that the kernel knows.
 *
 * Files and symlinks are one inode per content, so that all paths with the same bytes share one page cache:
 * keyed by digest and executable bit, and by target. The size belongs to the key as well: it follows from the
 * digest unless a directory lies, and then the lie stays with the paths below that directory.
 *
 * Directories are one inode per place (parent and position in it): Linux allows a directory one place in the
 * tree, and would move it if the same number turned up in a second one.
 */
export class InodeTable {
  #columns = new InodeColumns(INITIAL_CAPACITY)
  /** First slot of each hash bucket; at least as many as there are slots. */
  #buckets = new Uint32Array(INITIAL_BUCKETS)
  readonly #counters = new Float64Array(COUNTERS)
  readonly #fileBytes = new BigUint64Array(1)
  #targets = this.#newTargets()
  /** Directories are made by strangers, who must not be able to choose what shares a bucket. */
  // Nobody is told any number of that generator, which the system's entropy seeds; node:crypto takes 5 ms to load.
  readonly #seed = Math.floor(Math.random() * 2 ** 32)
  #tables: InodeTables | undefined

  constructor() {
    this.#counters[COUNTER.end] = FIRST_SLOT
    this.#counters[COUNTER.count] = 1
    this.#counters[COUNTER.seed] = this.#seed
  }

  /** All of its memory, for native/inode_table.c, until anything is called that adds or removes. */
  get tables(): InodeTables {
    const { kind, generation, references, size, ino, digests, parent, position, next } = this.#columns
    const bytes = this.#targets.bytes
    const known = this.#tables
    if (known?.[0] === kind && known.at(-1) === bytes && known.includes(this.#buckets)) return known
    this.#tables = [
      ...[kind, generation, references, size, ino, digests, parent, position, next],
      ...[this.#buckets, this.#counters, this.#fileBytes, bytes],
    ]
    return this.#tables
  }

  /** So that another inode of any kind can be added to `tables`; so many if they are no symlinks. */
  makeRoom(count = 1): void {
    while (this.#dead === 0 && this.#end + count > this.#columns.capacity) this.#grow()
    this.#targets.makeRoom(SYMLINK_TARGET_BYTES_MAX)
  }

  /** Inodes alive, the root included. */
  get count(): number {
    return this.#counters[COUNTER.count]!
  }

  /** What the live files hold, each content once. */
  get fileBytes(): bigint {
    return this.#fileBytes[0]!
  }

  /**
   * The inode of a node found in a directory, made if it is not known yet. A new one holds no reference:
   * `reference` it, or `forget` it with 0 references.
   */
  intern(node: Node, parent: InodeNumber, position: number, name: Uint8Array): InodeNumber {
    if (node.kind !== 'directory') return this.#internContent(node, parent)
    const bucket = this.#placeBucket(parent, position)
    const known = this.#findPlace(bucket, parent, position)
    return this.#number(known || this.#addDirectory(node, parent, position, name))
  }

  /** As `intern`, for a name at the root. The caller knows the directories there by name, so each call makes one. */
  internAtRoot(node: Node, name: Uint8Array): InodeNumber {
    if (node.kind !== 'directory') return this.#internContent(node, ROOT_INODE)
    return this.#number(this.#addDirectory(node, ROOT_INODE, undefined, name))
  }

  reference(inode: InodeNumber): void {
    if (inode !== ROOT_INODE) this.#columns.references[this.#slot(inode)]!++
  }

  /** What a lookup answers: the inode with its attributes, and one reference more. */
  handOut(inode: InodeNumber): TreeEntry {
    this.reference(inode)
    return { inode, attributes: this.attributes(inode) }
  }

  /** Takes references back; true when none are left, and so the number is dead. */
  forget(inode: InodeNumber, references: number): boolean {
    const slot = this.#find(inode)
    if (slot === undefined || slot === ROOT_INODE) return false
    const left = this.#columns.references[slot]! - references
    this.#columns.references[slot] = left
    if (left > 0) return false
    this.#remove(slot)
    return true
  }

  isAlive(inode: InodeNumber): boolean {
    return this.#find(inode) !== undefined
  }

  /** Throws TreeFault `ESTALE` for a number that is not alive, as do the other accessors. */
  attributes(inode: InodeNumber): Attributes {
    if (inode === ROOT_INODE) return ROOT_ATTRIBUTES
    const slot = this.#slot(inode)
    const kind = this.#columns.kind[slot]
    return {
      ino: this.#columns.ino[slot]!,
      kind: kind === SLOT_KIND.directory ? 'directory' : kind === SLOT_KIND.symlink ? 'symlink' : 'file',
      size: this.#columns.size[slot]!,
      executable: kind === SLOT_KIND.executable,
    }
  }

  /** Of a file's blob or of a directory. */
  digest(inode: InodeNumber): Digest {
    return Digest.fromBytes(this.#columns.digest(this.#slot(inode)).slice())
  }

  /** Of a symlink. */
  target(inode: InodeNumber): Uint8Array {
    const slot = this.#slot(inode)
    return this.#targets.read(this.#columns.parent[slot]!, Number(this.#columns.size[slot]!))
  }

  /** The directory that holds a directory, or in which a file was first found; it may be dead. */
  parent(inode: InodeNumber): InodeNumber {
    return this.#columns.parent[this.#slot(inode)]!
  }

  /** Of a directory: where it stands among the entries of its parent, unless that is the root. */
  position(inode: InodeNumber): number {
    return this.#columns.position[this.#slot(inode)]!
  }

  get #end(): number {
    return this.#counters[COUNTER.end]!
  }

  get #dead(): number {
    return this.#counters[COUNTER.dead]!
  }

  #newTargets(): ByteArena {
    return new ByteArena(this.#counters.subarray(COUNTER.targets).fill(0))
  }

  #number(slot: number): InodeNumber {
    return this.#columns.generation[slot]! * SLOTS + slot
  }

  #find(inode: InodeNumber): number | undefined {
    const slot = inode % SLOTS
    if (slot === 0 || slot >= this.#end) return undefined
    if (slot === ROOT_INODE) return inode === ROOT_INODE ? slot : undefined
    if (this.#columns.kind[slot] === SLOT_KIND.dead) return undefined
    return this.#number(slot) === inode ? slot : undefined
  }

  #slot(inode: InodeNumber): number {
    const slot = this.#find(inode)
    if (slot === undefined) throw new TreeFault('ESTALE')
    return slot
  }

  #internContent(node: FileNode | SymlinkNode, parent: InodeNumber): InodeNumber {
    const kind = slotKind(node)
    const digest = node.kind === 'file' ? node.digest.bytes : Digest.of(node.target).bytes
    const size = node.kind === 'file' ? node.size : BigInt(node.target.length)
    const known = this.#findContent(kind, digest, size)
    return this.#number(known || this.#addContent(node, kind, digest, size, parent))
  }

  #findContent(kind: SlotKind, digest: Uint8Array, size: bigint): number {
    const { kind: kinds, size: sizes, next } = this.#columns
    let slot = this.#buckets[this.#contentBucket(kind, digest, 0)]!
    while (slot !== 0) {
      if (kinds[slot] === kind && sizes[slot] === size && this.#columns.hasDigest(slot, digest)) return slot
      slot = next[slot]!
    }
    return 0
  }

  #findPlace(bucket: number, parent: InodeNumber, position: number): number {
    const { kind, parent: parents, position: positions, next } = this.#columns
    let slot = this.#buckets[bucket]!
    while (slot !== 0) {
      if (kind[slot] === SLOT_KIND.directory && parents[slot] === parent && positions[slot] === position)
        return slot
      slot = next[slot]!
    }
    return 0
  }

  #addContent(
    node: FileNode | SymlinkNode,
    kind: SlotKind,
    digest: Uint8Array,
    size: bigint,
    parent: InodeNumber,
  ): number {
    const slot = this.#allocate()
    const columns = this.#columns
    columns.kind[slot] = kind
    columns.size[slot] = size
    columns.digest(slot).set(digest)
    if (node.kind === 'symlink') {
      columns.ino[slot] = contentIno(digest, 'symlink')
      columns.parent[slot] = this.#targets.append(node.target)
    } else {
      columns.ino[slot] = contentIno(digest, node.executable ? 'executable' : 'file')
      columns.parent[slot] = parent
      this.#fileBytes[0]! += size
    }
    this.#link(slot)
    return slot
  }

  /** Without a position it gets one that no other directory with this parent has: its slot. */
  #addDirectory(
    node: DirectoryNode,
    parent: InodeNumber,
    position: number | undefined,
    name: Uint8Array,
  ): number {
    const parentIno = this.attributes(parent).ino
    const slot = this.#allocate()
    const columns = this.#columns
    columns.kind[slot] = SLOT_KIND.directory
    columns.size[slot] = node.size
    columns.ino[slot] = placeIno(parentIno, name)
    columns.digest(slot).set(node.digest.bytes)
    columns.parent[slot] = parent
    columns.position[slot] = position ?? slot
    this.#link(slot)
    return slot
  }

  #allocate(): number {
    const counters = this.#counters
    counters[COUNTER.count]!++
    const reused = this.#dead
    if (reused !== 0) {
      counters[COUNTER.dead] = this.#columns.next[reused]!
      return reused
    }
    if (this.#end === this.#columns.capacity) this.#grow()
    return counters[COUNTER.end]!++
  }

  #grow(): void {
    this.#columns = this.#columns.grown(Math.ceil(this.#columns.capacity * GROWTH))
    if (this.#columns.capacity > this.#buckets.length) this.#rehash(this.#buckets.length * 2)
  }

  #rehash(buckets: number): void {
    this.#buckets = new Uint32Array(buckets)
    for (let slot = FIRST_SLOT; slot < this.#end; slot++)
      if (this.#columns.kind[slot] !== SLOT_KIND.dead) this.#link(slot)
  }

  #remove(slot: number): void {
    const columns = this.#columns
    this.#unlink(slot)
    const kind = columns.kind[slot]
    columns.kind[slot] = SLOT_KIND.dead
    columns.references[slot] = 0
    this.#counters[COUNTER.count]!--
    if (kind === SLOT_KIND.symlink) this.#releaseTarget(Number(columns.size[slot]))
    else if (kind !== SLOT_KIND.directory) this.#fileBytes[0]! -= columns.size[slot]!
    if (columns.generation[slot]! === GENERATION_MAX) return
    columns.generation[slot]!++
    columns.next[slot] = this.#dead
    this.#counters[COUNTER.dead] = slot
  }

  #releaseTarget(length: number): void {
    this.#targets.release(length)
    if (!this.#targets.isWasteful) return
    const { kind, parent, size } = this.#columns
    const fresh = this.#newTargets()
    for (let slot = FIRST_SLOT; slot < this.#end; slot++)
      if (kind[slot] === SLOT_KIND.symlink)
        parent[slot] = fresh.append(this.#targets.read(parent[slot]!, Number(size[slot])))
    this.#targets = fresh
  }

  #link(slot: number): void {
    const bucket = this.#bucketOf(slot)
    this.#columns.next[slot] = this.#buckets[bucket]!
    this.#buckets[bucket] = slot
  }

  #unlink(slot: number): void {
    const { next } = this.#columns
    const bucket = this.#bucketOf(slot)
    let at = this.#buckets[bucket]!
    if (at === slot) {
      this.#buckets[bucket] = next[slot]!
      return
    }
    while (next[at] !== slot) at = next[at]!
    next[at] = next[slot]!
  }

  #bucketOf(slot: number): number {
    const { kind, parent, position, digests } = this.#columns
    if (kind[slot] === SLOT_KIND.directory) return this.#placeBucket(parent[slot]!, position[slot]!)
    // Without a view of them: a table that grows asks for every inode.
    return this.#contentBucket(kind[slot] as SlotKind, digests, slot * BLAKE3_BYTES)
  }

  /** Of the digest that begins at `at`. */
  #contentBucket(kind: SlotKind, digests: Uint8Array, at: number): number {
    let hash = mix(this.#seed, kind)
    for (let end = at + BLAKE3_BYTES; at < end; at += 4) hash = mix(hash, word(digests, at))
    return this.#bucket(hash)
  }

  #placeBucket(parent: InodeNumber, position: number): number {
    const high = Math.floor(parent / 2 ** 32)
    return this.#bucket(mix(mix(mix(this.#seed, parent | 0), high), position))
  }

  #bucket(hash: number): number {
    return (hash ^ (hash >>> 15)) & (this.#buckets.length - 1)
  }
}

/** The size of the root is nobody's to record. */
const ROOT_ATTRIBUTES: Attributes = { ino: ROOT_INO, kind: 'directory', size: 0n, executable: false }

function slotKind(node: FileNode | SymlinkNode): SlotKind {
  if (node.kind === 'symlink') return SLOT_KIND.symlink
  return node.executable ? SLOT_KIND.executable : SLOT_KIND.file
}

/** One round of a multiplicative hash over 32-bit words; the constants are odd and random. */
function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3f_79b1)
  return Math.imul(mixed ^ (mixed >>> 16), 0x85a3_c2d7)
}

/** Four bytes as a number, read where they are: a view of them would cost more than the whole hash. */
function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
