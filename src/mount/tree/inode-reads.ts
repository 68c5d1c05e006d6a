import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import {
  FILL_FILE_BYTES_MAX,
  LOCAL_CHUNK_NOW_BYTES_MAX,
  PLANNED_READ_AHEAD_BYTES,
  SMALL_FILE_BYTES_MAX,
} from '../../support/limits.ts'
import type { AccessRecorder } from './access-recorder.ts'
import type { DirectoryLoader } from './directory-loader.ts'
import type { FileContents, FileReader } from './file-reader.ts'
import type { FillAhead } from './fill-ahead.ts'
import type { InodePaths } from './inode-paths.ts'
import { type InodeTable, ROOT_INODE } from './inode-table.ts'
import { type InodeNumber, type Soon, TreeFault } from './interface.ts'
import type { PlannedReads } from './planned-reads.ts'
import { type Range, ReadAhead } from './read-ahead.ts'
import { ReadPlan } from './read-plan.ts'
import type { SiblingsAhead } from './siblings-ahead.ts'
import { whenReady } from './soon.ts'

export interface InodeReadsOptions {
  readonly inodes: InodeTable
  readonly paths: InodePaths
  readonly directories: DirectoryLoader
  readonly files: FileReader
  readonly siblings: SiblingsAhead
  /** Hears of the small files that are read. */
  readonly fillAhead: () => FillAhead
  readonly recorder: AccessRecorder | undefined
  /** A quicker way to files whose chunks are known. */
  readonly plannedReads: PlannedReads | undefined
}

const NO_PIECES: readonly Uint8Array[] = []

/** Reads of inodes: brings what was asked for, and has what is likely to be next fetched ahead. */
export class InodeReads {
  readonly #options: InodeReadsOptions
  readonly #inodes: InodeTable
  readonly #files: FileReader
  readonly #readAhead = new ReadAhead()
  readonly #plannedAhead = new ReadAhead({
    bytesMax: PLANNED_READ_AHEAD_BYTES,
    stepBytes: PLANNED_READ_AHEAD_BYTES / 2,
  })
  readonly #plan: ReadPlan

  constructor(options: InodeReadsOptions) {
    this.#options = options
    this.#inodes = options.inodes
    this.#files = options.files
    this.#plan = new ReadPlan(options.plannedReads?.source)
  }

  read(
    inode: InodeNumber,
    offset: number,
    size: number,
    call: Call | undefined,
  ): Soon<readonly Uint8Array[]> {
    const { kind, size: recorded } = this.#inodes.attributes(inode)
    if (kind === 'directory') throw new TreeFault('EISDIR')
    if (kind === 'symlink') throw new TreeFault('EINVAL')
    const { paths, recorder, fillAhead } = this.#options
    const file = { digest: this.#inodes.digest(inode), size: Number(recorded) }
    if (!Number.isSafeInteger(file.size))
      throw paths.located(inode, tooLarge(file.digest.toString(), recorded))
    const range = { start: offset, end: Math.min(offset + size, file.size) }
    if (range.start >= range.end) return NO_PIECES
    recorder?.read(inode, range, () => paths.pathOf(inode))
    const planned = this.#readPlanned(inode, file, range, call)
    if (planned) return paths.locate(inode, planned)
    const pieces = this.#files.read(file, range, call)
    // What this machine has in memory is had as quickly when it is asked for.
    const isWaitedFor = pieces instanceof Promise
    if (file.size <= FILL_FILE_BYTES_MAX && (isWaitedFor || !this.#files.isLocal)) {
      fillAhead().read(inode, this.#inodes.parent(inode))
      if (isWaitedFor) fillAhead().push()
    }
    const ahead = this.#readAhead.next(inode, range, file.size, this.#files)
    if (ahead) this.#readAhead.reached(inode, this.#files.prefetch(file, ahead))
    else if (this.#files.isFar) this.#fetchBeside(inode, file, range, isWaitedFor)
    return paths.locate(inode, pieces)
  }

  /** `undefined` where there is no plan: small files are read as quickly without one. */
  #readPlanned(
    inode: InodeNumber,
    file: FileContents,
    range: Range,
    call: Call | undefined,
  ): Soon<readonly Uint8Array[]> | undefined {
    const { plannedReads } = this.#options
    if (!plannedReads || file.size <= LOCAL_CHUNK_NOW_BYTES_MAX) return undefined
    if (!this.#files.plan(file, range, this.#plan)) return undefined
    const bytes = plannedReads.read(this.#plan, range.end - range.start)
    const ahead = bytes && this.#plannedAhead.next(inode, range, file.size)
    if (ahead && this.#files.plan(file, ahead, this.#plan)) plannedReads.keepAhead(this.#plan)
    return bytes && whenReady(bytes, (read) => (read ? [read] : this.#files.read(file, range, call)))
  }

  /** As `planRead` of a tree. */
  plan(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean {
    const file = this.#plannable(inode)
    if (!file || !Number.isSafeInteger(offset) || offset >= file.size || size === 0) return false
    const isPlanned = this.#files.plan(file, { start: offset, end: Math.min(offset + size, file.size) }, plan)
    if (isPlanned && file.size <= FILL_FILE_BYTES_MAX)
      this.#options.fillAhead().read(inode, this.#inodes.parent(inode))
    return isPlanned
  }

  /** As `planAhead` of a tree. */
  planAhead(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean {
    const file = this.#plannable(inode)
    if (!file || file.size <= LOCAL_CHUNK_NOW_BYTES_MAX) return false
    const range = { start: offset, end: Math.min(offset + size, file.size) }
    const ahead = this.#plannedAhead.next(inode, range, file.size)
    return ahead !== undefined && this.#files.plan(file, ahead, plan)
  }

  /** As `listChunks` of a tree. */
  listChunks(inode: InodeNumber, call: Call): Promise<void> | undefined {
    const file = this.#plannable(inode)
    return file && this.#files.list(file, call)
  }

  #plannable(inode: InodeNumber): FileContents | undefined {
    if (this.#options.recorder || !this.#inodes.isAlive(inode)) return undefined
    const { kind, size: recorded } = this.#inodes.attributes(inode)
    const size = Number(recorded)
    if (kind !== 'file' || !Number.isSafeInteger(size)) return undefined
    return { digest: this.#inodes.digest(inode), size }
  }

  /** An inode died. */
  forget(inode: InodeNumber): void {
    this.#readAhead.forget(inode)
    this.#plannedAhead.forget(inode)
  }

  /** Whoever reads from afar waits for a round trip each time: what may be next comes with it. */
  #fetchBeside(inode: InodeNumber, file: FileContents, range: Range, isMissing: boolean): void {
    const beside = this.#readAhead.beside(inode, range, file.size)
    if (beside) this.#files.prefetchWhenListed(file, beside)
    if (!isMissing || file.size > SMALL_FILE_BYTES_MAX) return
    const { siblings, directories } = this.#options
    const parent = this.#inodes.parent(inode)
    if (parent !== ROOT_INODE && this.#inodes.isAlive(parent))
      siblings.missed(parent, directories.peek(this.#inodes.digest(parent))?.directory)
  }
}

function tooLarge(digest: string, size: bigint): StoreError {
  return new StoreError(
    'exhausted',
    `blob ${digest}: ${size} bytes are recorded for it, more than can be read`,
  )
}
