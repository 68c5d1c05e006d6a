/**
 * A filesystem tree becomes blobs and directories (spec §8.2, without its races).
 *
 * The walk goes depth first and never waits for contents: files are handed to a bounded number of uploads, and a
 * directory is sent as soon as everything below it has a digest. So what is in memory is bounded by the files in
 * flight, not by the size of the tree, and a putter sees every directory after its children.
 */
import { type BigIntStats, type Dirent, lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import type { Digest } from '../model/castore/digest.ts'
import { Directory, type SizeFormula } from '../model/castore/directory.ts'
import type { Entry, Node } from '../model/castore/node.ts'
import { pathComponent } from '../model/castore/path-component.ts'
import { symlinkTarget } from '../model/castore/symlink-target.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryPutter, DirectoryService } from '../services/directories/interface.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { compareBytes, concatBytes, printable, utf8 } from '../support/bytes.ts'
import { type Call, onAbort, throwIfAborted } from '../support/call.ts'
import { Semaphore } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { INGEST_FILES_MAX, INGEST_STATES_AHEAD, TREE_DEPTH_MAX } from '../support/limits.ts'
import { ReadPace, readPaceOf } from '../support/read-pace.ts'
import { BlobUploader } from './blob-uploader.ts'
import type { ImportCache } from './import-cache.ts'
import { ingestFile, isExecutable, memoryFor } from './ingest-file.ts'
import { changedFile, sourceError } from './source.ts'
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

/** What a walk knows of an entry at once: its node is there when its contents are stored. */
interface Pending {
  readonly node: Promise<Node>
}

interface Child {
  readonly kind: EntryKind
  /** Of a file. */
  readonly state: BigIntStats | undefined
  /** What it contains, if that is stored already. */
  readonly known: Digest | undefined
}

interface NamedChild extends Child {
  readonly name: Uint8Array
  readonly path: Uint8Array
}

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

  constructor(blobs: BlobService, directories: DirectoryService, options: IngestOptions) {
    this.#uploader = new BlobUploader(blobs)
    this.#files = new Semaphore(blobs.smallWrites?.atOnceMax ?? INGEST_FILES_MAX)
    this.#directories = directories
    this.#options = options
    this.#signal = options.signal
      ? AbortSignal.any([options.signal, this.#controller.signal])
      : this.#controller.signal
    const { nar } = options
    if (nar) onAbort(this.#signal, () => nar.fail(StoreError.from(this.#signal.reason)))
  }

  async run(path: Uint8Array): Promise<Node> {
    try {
      const state = await this.#stateOf(path)
      if (state.isDirectory()) this.#pace = await readPaceOf(Buffer.from(path))
      const { node } = await this.#visit(path, { kind: kindOf(state), state, known: undefined }, 0)
      const root = await node
      if (this.#putter) await this.#putter.close()
      return root
    } catch (error) {
      this.#controller.abort(StoreError.from(error))
      throw error
    }
  }

  /** Returns once the entry is walked; its node follows when everything below it is stored. */
  async #visit(path: Uint8Array, what: Child, depth: number): Promise<Pending> {
    throwIfAborted(this.#signal)
    if (what.kind === 'directory') return await this.#visitDirectory(path, depth)
    if (what.kind === 'file') return await this.#startFile(path, what)
    if (what.kind === 'symlink') return await this.#visitSymlink(path)
    throw new StoreError(
      'invalid-argument',
      `unsupported file type at ${printable(path)}: ${what.kind} (a store path holds files, directories and symlinks)`,
    )
  }

  async #visitDirectory(path: Uint8Array, depth: number): Promise<Pending> {
    if (depth >= TREE_DEPTH_MAX)
      throw new StoreError(
        'exhausted',
        `${printable(path)} is nested deeper than ${TREE_DEPTH_MAX} directories`,
      )
    const { nar } = this.#options
    nar?.event({ type: 'directory' })
    const children: { name: Uint8Array; pending: Pending }[] = []
    const found = await this.#listed(path)
    for (let start = 0; start < found.length; start += INGEST_STATES_AHEAD)
      for (const child of await this.#look(path, found.slice(start, start + INGEST_STATES_AHEAD))) {
        await nar?.room()
        nar?.event({ type: 'entry', name: pathComponent(child.name) })
        children.push({ name: child.name, pending: await this.#visit(child.path, child, depth + 1) })
      }
    nar?.event({ type: 'end-directory' })
    return { node: this.#guard(this.#finishDirectory(children)) }
  }

  /** The states of files, and which of them need not be read. */
  async #look(folder: Uint8Array, entries: readonly Dirent<Buffer>[]): Promise<readonly NamedChild[]> {
    throwIfAborted(this.#signal)
    return await Promise.all(
      entries.map(async (entry) => {
        const path = concatBytes([folder, SLASH, entry.name])
        const kind = kindOf(entry)
        const file = { name: entry.name, path, kind, state: undefined, known: undefined }
        if (kind !== 'file') return file
        const state = await this.#stateOf(path)
        if (!state.isFile()) throw changedFile(path)
        return { ...file, state, known: await this.#known(state) }
      }),
    )
  }

  /** What a file in this state contains, if that is stored. */
  async #known(state: BigIntStats): Promise<Digest | undefined> {
    const digest = this.#options.cache?.find(state)
    if (!digest || !(await this.#uploader.blobs.has(digest, { signal: this.#signal }))) return undefined
    return digest
  }

  async #finishDirectory(children: { name: Uint8Array; pending: Pending }[]): Promise<Node> {
    const entries: Entry[] = []
    for (const { name, pending } of children)
      entries.push({ name: pathComponent(name), node: await pending.node })
    const directory = Directory.from(entries)
    throwIfAborted(this.#signal)
    await this.#put(directory)
    return { kind: 'directory', digest: directory.digest, size: directory.size(this.#options.sizeFormula) }
  }

  /** One after the other: directories finish in any order, and a putter is a stream. */
  #put(directory: Directory): Promise<void> {
    this.#putter ??= this.#directories.startPutter({ signal: this.#signal })
    const putter = this.#putter
    this.#lastPut = this.#lastPut.then(() => putter.put(directory))
    return this.#lastPut
  }

  async #visitSymlink(path: Uint8Array): Promise<Pending> {
    const [name, options] = [Buffer.from(path), { encoding: 'buffer' } as const]
    const target = symlinkTarget(
      await this.#ask(
        'read symlink',
        path,
        () => readlinkSync(name, options),
        () => readlink(name, options),
      ),
    )
    this.#options.nar?.event({ type: 'symlink', target })
    return { node: Promise.resolve({ kind: 'symlink', target }) }
  }

  /** Waits for a free place, so that the walk never runs far ahead of the uploads. */
  async #startFile(path: Uint8Array, { state, known }: Child): Promise<Pending> {
    if (!state) throw changedFile(path)
    if (known) return { node: Promise.resolve(this.#knownFile(path, state, known)) }
    const release = await this.#acquire(memoryFor(state.size))
    const { nar, cache } = this.#options
    const readMs = Date.now()
    const turn = {
      path,
      state,
      nar: nar?.file(Number(state.size), isExecutable(state)),
      closed: release.open,
    }
    const stored = ingestFile(turn, this.#uploader, {
      signal: this.#signal,
      pace: this.#pace,
      progress: this.#options.progress,
    }).then((node) => {
      cache?.learn(state, node.digest, readMs)
      return node
    })
    return { node: this.#guard(stored.finally(release.all)) }
  }

  #knownFile(path: Uint8Array, state: BigIntStats, digest: Digest): Node {
    const executable = isExecutable(state)
    this.#options.cache?.keep(state, digest)
    this.#options.nar?.knownFile({ path, state }, executable)
    this.#options.progress?.file()
    return { kind: 'file', digest, size: state.size, executable }
  }

  #stateOf(path: Uint8Array): Promise<BigIntStats> {
    const [name, options] = [Buffer.from(path), { bigint: true } as const]
    return this.#ask(
      'stat',
      path,
      () => lstatSync(name, options),
      () => lstat(name, options),
    )
  }

  /** In the order of a NAR. */
  async #listed(path: Uint8Array): Promise<Dirent<Buffer>[]> {
    const [name, options] = [Buffer.from(path), { withFileTypes: true, encoding: 'buffer' } as const]
    const entries = await this.#ask(
      'list',
      path,
      () => readdirSync(name, options),
      () => readdir(name, options),
    )
    return entries.sort((a, b) => compareBytes(a.name, b.name))
  }

  /** Without the thread pool while that is quick (see ReadPace). */
  async #ask<T>(doing: string, path: Uint8Array, onSpot: () => T, inPool: () => Promise<T>): Promise<T> {
    try {
      return this.#pace.isOnSpot ? this.#pace.run(onSpot) : await inPool()
    } catch (error) {
      throw sourceError(doing, path, error)
    }
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

  /** A failure anywhere stops the walk everywhere; the promise itself is awaited later, so mark it handled. */
  #guard(node: Promise<Node>): Promise<Node> {
    node.catch((error) => this.#controller.abort(StoreError.from(error)))
    return node
  }
}

const SLASH = utf8('/')

type EntryKind = 'directory' | 'file' | 'symlink' | 'fifo' | 'socket' | 'block device' | 'character device'

interface Typed {
  isDirectory(): boolean
  isFile(): boolean
  isSymbolicLink(): boolean
  isFIFO(): boolean
  isSocket(): boolean
  isBlockDevice(): boolean
}

function kindOf(entry: Typed): EntryKind {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  if (entry.isSymbolicLink()) return 'symlink'
  if (entry.isFIFO()) return 'fifo'
  if (entry.isSocket()) return 'socket'
  return entry.isBlockDevice() ? 'block device' : 'character device'
}
