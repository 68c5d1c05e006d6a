/**
 * A filesystem tree becomes blobs and directories (spec §8.2, without its races).
 *
 * The walk goes depth first and never waits for contents: files are handed to a bounded number of uploads, and a
 * directory is sent as soon as everything below it has a digest. So what is in memory is bounded by the files in
 * flight, not by the size of the tree, and a putter sees every directory after its children.
 */
import type { Digest } from '../model/castore/digest.ts'
import { Directory, type SizeFormula } from '../model/castore/directory.ts'
import type { Node } from '../model/castore/node.ts'
import { type PathComponent, pathComponent } from '../model/castore/path-component.ts'
import { symlinkTarget } from '../model/castore/symlink-target.ts'
import { hasMany } from '../services/blobs/has-many.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryPutter, DirectoryService } from '../services/directories/interface.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { printable, utf8 } from '../support/bytes.ts'
import { type Call, onAbort, throwIfAborted } from '../support/call.ts'
import { Semaphore } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { INGEST_FILES_MAX } from '../support/limits.ts'
import { ReadPace, readPaceOf } from '../support/read-pace.ts'
import { type EntryKind, isExecutable, type SourceRecords } from '../support/source-records.ts'
import { type SourceWalk, walkSource } from '../support/source-walk.ts'
import { BlobUploader } from './blob-uploader.ts'
import type { ImportCache } from './import-cache.ts'
import { ingestFile, memoryFor, type StoredFile } from './ingest-file.ts'
import { OpenDirectory } from './open-directory.ts'
import { walkError } from './source.ts'
import type { SourceNar } from './source-nar.ts'

export interface IngestOptions extends Call {
  /** How sub-directory sizes are written (DESIGN §3.4). */
  readonly sizeFormula: SizeFormula
  readonly progress?: IngestProgress | undefined
  /** Is told the NAR of the tree as it is walked. */
  readonly nar?: SourceNar | undefined
  /** Spares reading files whose contents are known and stored. */
  readonly cache?: ImportCache | undefined
}

/**
 * Stores the tree at `path` (a directory, a file or a symlink, which is not followed) and returns its root node.
 * Throws `not-found` when there is nothing, `invalid-argument` for a special file, `precondition` for a file that
 * changes while it is read; each names the path. What was uploaded before a failure is garbage, never a lie.
 */
export async function ingestTree(
  services: { readonly blobs: BlobService; readonly directories: DirectoryService },
  path: string,
  options: IngestOptions,
): Promise<Node> {
  const ingest = new TreeIngest(services.blobs, services.directories, options)
  return await ingest.run(utf8(path))
}

/** Of the root. */
const NO_NAME = new Uint8Array(0) as PathComponent

class TreeIngest {
  readonly #uploader: BlobUploader
  readonly #directories: DirectoryService
  readonly #options: IngestOptions
  /**
   * What a file needs is given out in the order of the walk, which is that of the NAR: a file that waits for its turn to
   * be hashed then never holds what one before it is waiting for.
   */
  readonly #files: Semaphore
  readonly #openFiles = new Semaphore(INGEST_FILES_MAX)
  readonly #controller = new AbortController()
  readonly #signal: AbortSignal
  #pace = new ReadPace(false)
  #putter: DirectoryPutter | undefined
  #lastPut: Promise<void> = Promise.resolve()
  readonly #done = Promise.withResolvers<Node>()

  constructor(blobs: BlobService, directories: DirectoryService, options: IngestOptions) {
    this.#uploader = new BlobUploader(blobs)
    this.#files = new Semaphore(blobs.smallWrites?.atOnceMax ?? INGEST_FILES_MAX)
    this.#directories = directories
    this.#options = options
    this.#signal = options.signal
      ? AbortSignal.any([options.signal, this.#controller.signal])
      : this.#controller.signal
    this.#done.promise.catch(() => {}) // a failure is told by whoever meets it first
    const { nar } = options
    if (nar) onAbort(this.#signal, () => nar.fail(StoreError.from(this.#signal.reason)))
  }

  async run(path: Uint8Array): Promise<Node> {
    try {
      const root = await this.#walk(path)
      if (this.#putter) await this.#putter.close()
      return root
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** The next entries are looked at while these are dealt with. */
  async #walk(path: Uint8Array): Promise<Node> {
    const walk = walkSource(path)
    const holder = new OpenDirectory(path, undefined)
    let folder = holder
    let looking = this.#look(walk)
    for (let found = await looking; found; found = await looking) {
      looking = this.#look(walk)
      looking.catch(() => {}) // it is awaited, unless something else fails before
      await this.#pace.breathe()
      // Of a tree that is known there is nothing else that the walk would wait for.
      await this.#lastPut
      folder = await this.#take(folder, found)
    }
    this.#settle(holder)
    return await this.#done.promise
  }

  /** Some entries, and those files among them whose contents are stored. */
  async #look(walk: SourceWalk): Promise<Found | undefined> {
    throwIfAborted(this.#signal)
    const records = await walk.next()
    if (!records) return undefined
    const { cache } = this.#options
    const known: KnownFile[] = []
    for (let i = 0; cache && i < records.count; i++) {
      const place = records.kind(i) === 'file' ? cache.find(records, i) : undefined
      if (place !== undefined) known.push({ record: i, place, digest: cache.digestAt(place) })
    }
    if (known.length === 0) return { records, known }
    const digests = known.map(({ digest }) => digest)
    const isThere = await hasMany(this.#uploader.blobs, digests, { signal: this.#signal })
    return { records, known: known.filter((_, i) => isThere[i]) }
  }

  /** The directory that the walk is in after these entries. */
  async #take(begin: OpenDirectory, { records, known }: Found): Promise<OpenDirectory> {
    const { nar } = this.#options
    let folder = begin
    let next = 0
    let told = 0
    for (let i = 0; i < records.count; i++) {
      const kind = records.kind(i)
      if (kind === 'failure') throw walkError(records, i)
      if (kind === 'end') {
        this.#settle(folder)
        folder = folder.parent!.folder
        continue
      }
      throwIfAborted(this.#signal)
      const isRoot = !folder.parent
      const name = isRoot ? NO_NAME : pathComponent(records.name(i))
      const place = folder.add(name)
      if (isRoot && kind === 'directory') this.#pace = await readPaceOf(Buffer.from(folder.path))
      if (kind === 'directory') folder = new OpenDirectory(folder.pathOf(name), { folder, place })
      else if (kind === 'symlink') folder.set(place, { kind, target: symlinkTarget(records.target(i)) })
      else if (kind !== 'file') throw unsupported(folder.pathOf(name), kind)
      else if (known[next]?.record === i) folder.set(place, this.#knownFile(records, known[next++]!))
      else {
        nar?.records(records, told, i)
        told = i + 1
        this.#expect(folder, place, await this.#startFile(folder.pathOf(name), records, i))
      }
    }
    nar?.records(records, told, records.count)
    if (nar?.isFull) await nar.room()
    return folder
  }

  #expect(folder: OpenDirectory, place: number, { stored }: StartedFile): void {
    folder.expect()
    const done = (node: Node) => {
      folder.set(place, node)
      this.#settle(folder)
    }
    stored.then(done).catch((error) => this.#fail(error))
  }

  /** Something that the directory waits for is there: a node, or all of its entries. */
  #settle(folder: OpenDirectory): void {
    if (folder.settle()) this.#finish(folder).catch((error) => this.#fail(error))
  }

  async #finish(folder: OpenDirectory): Promise<void> {
    throwIfAborted(this.#signal)
    const { entries, parent } = folder
    if (!parent) {
      this.#done.resolve(entries[0]!.node)
      return
    }
    const directory = Directory.from(entries)
    await this.#put(directory)
    const size = directory.size(this.#options.sizeFormula)
    parent.folder.set(parent.place, { kind: 'directory', digest: directory.digest, size })
    this.#settle(parent.folder)
  }

  /** A failure anywhere stops the walk everywhere. */
  #fail(error: unknown): void {
    const failure = StoreError.from(error)
    this.#controller.abort(failure)
    this.#done.reject(failure)
  }

  /** One after the other: directories finish in any order, and a putter is a stream. */
  #put(directory: Directory): Promise<void> {
    this.#putter ??= this.#directories.startPutter({ signal: this.#signal })
    const putter = this.#putter
    this.#lastPut = this.#lastPut.then(() => putter.put(directory))
    return this.#lastPut
  }

  /** Waits for a free place, so that the walk never runs far ahead of the uploads. */
  async #startFile(path: Uint8Array, records: SourceRecords, i: number): Promise<StartedFile> {
    const state = records.state(i)
    const release = await this.#acquire(memoryFor(state.size))
    const { nar, cache } = this.#options
    const readMs = Date.now()
    const turn = { path, state, mode: records.mode(i), nar: nar?.file(records, i), closed: release.open }
    const stored = ingestFile(turn, this.#uploader, {
      signal: this.#signal,
      pace: this.#pace,
      progress: this.#options.progress,
    })
    const hashed = stored.then((file) => file.hashed)
    hashed.catch((error) => this.#fail(error)).finally(release.all)
    const learnt = ({ node }: StoredFile) => {
      cache?.learn(state, node.digest, readMs)
      return node
    }
    return { stored: stored.then(learnt) }
  }

  #knownFile(records: SourceRecords, { record, place, digest }: KnownFile): Node {
    this.#options.cache?.keep(place)
    this.#options.progress?.file()
    const executable = isExecutable(records.mode(record))
    return { kind: 'file', digest, size: records.size(record), executable }
  }

  /** A place, an open file, and memory. */
  async #acquire(bytes: number) {
    const releases: (() => void)[] = []
    const all = () => {
      for (const release of releases) release()
    }
    try {
      releases.push(await this.#files.acquire(1, this.#signal))
      const open = await this.#openFiles.acquire(1, this.#signal)
      releases.push(open, await this.#uploader.reserve(bytes, { signal: this.#signal }))
      return { open, all }
    } catch (error) {
      all()
      throw error
    }
  }
}

/** A file that has its place, an open file and memory, until it is stored. */
interface StartedFile {
  readonly stored: Promise<Node>
}

/** Entries that were looked at, and the files among them whose contents need not be read to be stored. */
interface Found {
  readonly records: SourceRecords
  readonly known: readonly KnownFile[]
}

interface KnownFile {
  /** Its number among the records. */
  readonly record: number
  /** In the cache. */
  readonly place: number
  readonly digest: Digest
}

function unsupported(path: Uint8Array, kind: EntryKind): StoreError {
  return new StoreError(
    'invalid-argument',
    `unsupported file type at ${printable(path)}: ${kind} (a store path holds files, directories and symlinks)`,
  )
}
