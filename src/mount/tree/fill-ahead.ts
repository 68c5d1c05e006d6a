import type { FileNode } from '../../model/castore/node.ts'
import { type PackPlaces, writePlaces } from '../../services/blobs/chunk-places.ts'
import { countBuffers, countOldBuffers } from '../../support/buffer-garbage.ts'
import { concatBytes } from '../../support/bytes.ts'
import {
  FILL_AFAR_BYTES_MAX,
  FILL_FILE_BYTES_MAX,
  FILL_RECORDS_BYTES_MAX,
  FILL_WINDOW_BYTES_MAX,
  FILL_WINDOW_BYTES_MIN,
} from '../../support/limits.ts'
import type { InodeNumber, PageFiller } from './interface.ts'

/** One file, in the byte order of this machine (struct record of native/page_push.h). */
export const FILL_RECORD = { bytes: 64, inode: 0, size: 8, digest: 16, place: 48 } as const

/** Writes into the records of files where they lie in packs. */
export function locateRecords(places: PackPlaces, records: Uint8Array): void {
  writePlaces(places, records, FILL_RECORD)
}

/** Likewise for the first of every `count` records only. */
export function locateEvery(count: number, places: PackPlaces, records: Uint8Array): void {
  for (let at = 0; at < records.length; at += count * FILL_RECORD.bytes)
    locateRecords(places, records.subarray(at, at + FILL_RECORD.bytes))
}

/** What is taken for evidence that a directory will be read as a whole. */
export interface FillPolicy {
  /** Reads in it, before anything is known of others. */
  readonly readsEnough: number
  /** They must follow the listing: archivers read so, and programs that look for something do not. */
  readonly inOrder: boolean
  /** Contents that are pushed on the evidence of many directories, in bytes. */
  readonly windowBytesMax: number
}

/** What lies on this machine costs next to nothing: a wrong guess is made up for by the first right one. */
export const FILL_FROM_DISK: FillPolicy = {
  readsEnough: 2,
  inOrder: false,
  windowBytesMax: FILL_WINDOW_BYTES_MAX,
}
/** What comes over a network must be all but certain. */
export const FILL_FROM_AFAR: FillPolicy = {
  readsEnough: 4,
  inOrder: true,
  windowBytesMax: FILL_AFAR_BYTES_MAX,
}

/** Directories that were begun to be read before the first read of another one tells enough. */
const CONFIRMED_ENOUGH = 2

/** The small files of one listed directory, not pushed yet. */
class Batch {
  readonly directory: InodeNumber
  readonly parts: Uint8Array[] = []
  /** Of the contents. */
  bytes = 0
  reads = 0
  /** The kernel has all inodes. */
  isTaken = false
  /** Where the next read is if it follows the listing: a part, and an offset in it. */
  #part = 0
  #offset = 0
  /** Those listed before and after this, of what is neither pushed nor forgotten. */
  previous: Batch | undefined
  next: Batch | undefined

  constructor(directory: InodeNumber) {
    this.directory = directory
  }

  /** Takes note of a read. Only those count that follow each other in the order of the listing. */
  readNext(inode: InodeNumber): void {
    const follows = this.#inodeAt(this.#part, this.#offset) === inode
    this.reads = follows ? this.reads + 1 : this.#find(inode) ? 1 : 0
    this.#advance()
  }

  #find(inode: InodeNumber): boolean {
    for (this.#part = 0; this.#part < this.parts.length; this.#part++)
      for (this.#offset = 0; this.#offset < this.parts[this.#part]!.length; this.#offset += FILL_RECORD.bytes)
        if (this.#inodeAt(this.#part, this.#offset) === inode) return true
    this.#part = this.#offset = 0
    return false
  }

  #advance(): void {
    this.#offset += FILL_RECORD.bytes
    if (this.#offset < (this.parts[this.#part]?.length ?? 0)) return
    this.#part++
    this.#offset = 0
  }

  #inodeAt(part: number, offset: number): InodeNumber | undefined {
    const records = this.parts[part]
    if (!records || offset >= records.length) return undefined
    const view = new DataView(records.buffer, records.byteOffset + offset, FILL_RECORD.bytes)
    return Number(view.getBigUint64(FILL_RECORD.inode, true))
  }
}

/**
 * Decides which small files are worth having before they are read: those of directories that were listed and whose
 * files begin to be read, and with every directory that turns out so twice as much of what was listed after it. A
 * walk that reads nothing costs nothing, and a wrong guess no more than a window.
 */
export class FillAhead {
  readonly #filler: PageFiller
  readonly #policy: FillPolicy
  readonly #later: (work: () => void) => void
  /** In the order in which they were listed. */
  readonly #listed = new Map<InodeNumber, Batch>()
  #last: Batch | undefined
  /** Those that begin to be read, to be pushed before everything else. */
  readonly #urgent = new Set<Batch>()
  #isGoingOn = false
  #hasPushed = false
  /** What was listed after what was pushed last. */
  #following: Batch | undefined
  #recordBytes = 0
  #confirmed = 0
  /** Contents that may still be pushed on the evidence so far. */
  #credit = 0
  #page = new Uint8Array(64 * FILL_RECORD.bytes)
  #view = new DataView(this.#page.buffer)
  #pageBytes = 0
  #pageContents = 0

  constructor(filler: PageFiller, policy: FillPolicy, later: (work: () => void) => void = setImmediate) {
    this.#filler = filler
    this.#policy = policy
    this.#later = later
    // Else a reader would have to miss a file each time that the filler has done what it took.
    filler.onRoom?.(() => this.#goOn())
  }

  /** Takes note of an entry that is being listed. `endPage` follows. */
  add(inode: InodeNumber, node: FileNode): void {
    const size = Number(node.size)
    if (size === 0 || size > FILL_FILE_BYTES_MAX) return
    const at = this.#pageBytes
    if (at === this.#page.length) this.#growPage()
    this.#view.setBigUint64(at + FILL_RECORD.inode, BigInt(inode), true)
    this.#view.setUint32(at + FILL_RECORD.size, size, true)
    this.#page.set(node.digest.bytes, at + FILL_RECORD.digest)
    this.#pageBytes += FILL_RECORD.bytes
    this.#pageContents += size
  }

  /** As `add` for many: `FILL_RECORD`s of small files only, which have `contents` bytes. */
  addRecords(records: Uint8Array, contents: number): void {
    while (this.#pageBytes + records.length > this.#page.length) this.#growPage()
    this.#page.set(records, this.#pageBytes)
    this.#pageBytes += records.length
    this.#pageContents += contents
  }

  /**
   * A part of the listing of `directory` is being handed out, the first one when `isFirst`. Who asks for the next one, or for the
   * end, has taken the inodes of those before; what is pushed to an inode that the kernel does not know yet is lost.
   */
  endPage(directory: InodeNumber, isFirst: boolean): void {
    if (isFirst) this.#drop(directory)
    else this.#taken(directory)
    if (this.#pageBytes === 0) return
    const batch = this.#listed.get(directory) ?? this.#append(directory)
    batch.isTaken = false
    batch.parts.push(this.#page.slice(0, this.#pageBytes))
    batch.bytes += this.#pageContents
    this.#recordBytes += this.#pageBytes
    countBuffers(this.#pageBytes)
    this.#pageBytes = 0
    this.#pageContents = 0
    this.#dropOldest()
  }

  /** Whoever lists and reads directory after directory is not made to ask once in each. */
  #taken(directory: InodeNumber): void {
    const batch = this.#listed.get(directory)
    if (!batch) return
    batch.isTaken = true
    if (this.#listed.size === 1 && this.#credit > 0) this.#push(batch, false)
  }

  /**
   * A small file of `directory` was asked for: it was not pushed, or not yet. `push` follows once that was answered, or is being
   * waited for.
   */
  read(inode: InodeNumber, directory: InodeNumber): void {
    const batch = this.#listed.get(directory)
    if (!batch || this.#urgent.has(batch)) return
    const { readsEnough, inOrder, windowBytesMax } = this.#policy
    if (inOrder) batch.readNext(inode)
    else batch.reads++
    if (batch.reads < (this.#confirmed < CONFIRMED_ENOUGH ? readsEnough : 1)) return
    this.#credit = Math.min(FILL_WINDOW_BYTES_MIN * 2 ** this.#confirmed, windowBytesMax)
    this.#confirmed++
    this.#urgent.add(batch)
  }

  /**
   * Pushes what begins to be read, and goes on with what was listed after it. Finding where files lie takes milliseconds, and the threads
   * that push wait for a page that somebody waits to read: so whoever reads has the answer before.
   */
  push(): void {
    for (const batch of this.#urgent) this.#push(batch, true)
    this.#goOn()
  }

  /** As long as the credit lasts and the filler takes it: directory after directory, and whoever asks for something comes between. */
  #goOn(): void {
    const next = this.#following
    if (this.#isGoingOn || this.#credit <= 0 || !next?.isTaken || !this.#push(next, false)) return
    this.#isGoingOn = true
    this.#later(() => {
      this.#isGoingOn = false
      this.#goOn()
    })
  }

  #push(batch: Batch, isUrgent: boolean): boolean {
    if (!this.#filler.fill(concatBytes(batch.parts), isUrgent)) return false
    this.#credit -= batch.bytes
    this.#hasPushed = true
    this.#following = batch.next
    this.#drop(batch.directory)
    return true
  }

  #append(directory: InodeNumber): Batch {
    const batch = new Batch(directory)
    batch.previous = this.#last
    if (this.#last) this.#last.next = batch
    this.#last = batch
    if (this.#hasPushed) this.#following ??= batch
    this.#listed.set(directory, batch)
    return batch
  }

  #drop(directory: InodeNumber): void {
    const batch = this.#listed.get(directory)
    if (!batch) return
    // Nothing may lead to what is gone: whoever walks for days lists millions.
    if (batch.previous) batch.previous.next = batch.next
    if (batch.next) batch.next.previous = batch.previous
    if (this.#last === batch) this.#last = batch.previous
    if (this.#following === batch) this.#following = batch.next
    this.#urgent.delete(batch)
    for (const part of batch.parts) {
      this.#recordBytes -= part.length
      countOldBuffers(part.length)
    }
    batch.parts.length = 0
    this.#listed.delete(directory)
  }

  #dropOldest(): void {
    while (this.#recordBytes > FILL_RECORDS_BYTES_MAX) this.#drop(this.#listed.keys().next().value!)
  }

  #growPage(): void {
    const grown = new Uint8Array(this.#page.length * 2)
    grown.set(this.#page)
    this.#page = grown
    this.#view = new DataView(grown.buffer)
  }
}
