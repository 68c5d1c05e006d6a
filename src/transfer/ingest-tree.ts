/**
 * A filesystem tree becomes blobs and directories (spec §8.2, without its races).
 *
 * The walk goes depth first and never waits for contents: files are handed to a bounded number of uploads, and a
 * directory is sent as soon as everything below it has a digest. So what is in memory is bounded by the files in
 * flight, not by the size of the tree, and a putter sees every directory after its children.
 */
import type { Dirent } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { Directory, type SizeFormula } from '../model/castore/directory.ts'
import type { Entry, Node } from '../model/castore/node.ts'
import { pathComponent } from '../model/castore/path-component.ts'
import { symlinkTarget } from '../model/castore/symlink-target.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryPutter, DirectoryService } from '../services/directories/interface.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { concatBytes, printable, utf8 } from '../support/bytes.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { Semaphore } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { INGEST_FILES_MAX, TREE_DEPTH_MAX } from '../support/limits.ts'
import { ReadPace, readPaceOf } from '../support/read-pace.ts'
import { BlobUploader } from './blob-uploader.ts'
import { ingestFile } from './ingest-file.ts'
import { sourceError } from './source.ts'

export interface IngestOptions extends Call {
  /** How sub-directory sizes are written (DESIGN §3.4). */
  readonly sizeFormula: SizeFormula
  readonly progress?: IngestProgress | undefined
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

class TreeIngest {
  readonly #uploader: BlobUploader
  readonly #directories: DirectoryService
  readonly #options: IngestOptions
  readonly #files = new Semaphore(INGEST_FILES_MAX)
  readonly #controller = new AbortController()
  readonly #signal: AbortSignal
  #pace = new ReadPace(false)
  #putter: DirectoryPutter | undefined
  #lastPut: Promise<void> = Promise.resolve()

  constructor(blobs: BlobService, directories: DirectoryService, options: IngestOptions) {
    this.#uploader = new BlobUploader(blobs)
    this.#directories = directories
    this.#options = options
    this.#signal = options.signal
      ? AbortSignal.any([options.signal, this.#controller.signal])
      : this.#controller.signal
  }

  async run(path: Uint8Array): Promise<Node> {
    try {
      const kind = await kindOf(path)
      if (kind === 'directory') this.#pace = await readPaceOf(Buffer.from(path))
      const { node } = await this.#visit(path, kind, 0)
      const root = await node
      if (this.#putter) await this.#putter.close()
      return root
    } catch (error) {
      this.#controller.abort(StoreError.from(error))
      throw error
    }
  }

  /** Returns once the entry is walked; its node follows when everything below it is stored. */
  async #visit(path: Uint8Array, kind: EntryKind, depth: number): Promise<Pending> {
    throwIfAborted(this.#signal)
    if (kind === 'directory') return await this.#visitDirectory(path, depth)
    if (kind === 'file') return await this.#startFile(path)
    if (kind === 'symlink') return { node: this.#guard(readSymlink(path)) }
    throw new StoreError(
      'invalid-argument',
      `unsupported file type at ${printable(path)}: ${kind} (a store path holds files, directories and symlinks)`,
    )
  }

  async #visitDirectory(path: Uint8Array, depth: number): Promise<Pending> {
    if (depth >= TREE_DEPTH_MAX)
      throw new StoreError(
        'exhausted',
        `${printable(path)} is nested deeper than ${TREE_DEPTH_MAX} directories`,
      )
    const children: { name: Uint8Array; pending: Pending }[] = []
    for (const child of await listDirectory(path)) {
      const childPath = concatBytes([path, SLASH, child.name])
      children.push({
        name: child.name,
        pending: await this.#visit(childPath, kindOfDirent(child), depth + 1),
      })
    }
    return { node: this.#guard(this.#finishDirectory(children)) }
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

  /** Waits for a free place, so that the walk never runs far ahead of the uploads. */
  async #startFile(path: Uint8Array): Promise<Pending> {
    const release = await this.#files.acquire(1, this.#signal)
    const stored = ingestFile(path, this.#uploader, {
      signal: this.#signal,
      pace: this.#pace,
      progress: this.#options.progress,
    })
    return { node: this.#guard(stored.finally(release)) }
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

function kindOfDirent(entry: Typed): EntryKind {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  if (entry.isSymbolicLink()) return 'symlink'
  if (entry.isFIFO()) return 'fifo'
  if (entry.isSocket()) return 'socket'
  return entry.isBlockDevice() ? 'block device' : 'character device'
}

async function kindOf(path: Uint8Array): Promise<EntryKind> {
  try {
    return kindOfDirent(await lstat(Buffer.from(path)))
  } catch (error) {
    throw sourceError('stat', path, error)
  }
}

async function listDirectory(path: Uint8Array): Promise<Dirent<Buffer>[]> {
  try {
    return await readdir(Buffer.from(path), { withFileTypes: true, encoding: 'buffer' })
  } catch (error) {
    throw sourceError('list', path, error)
  }
}

async function readSymlink(path: Uint8Array): Promise<Node> {
  try {
    const target = await readlink(Buffer.from(path), { encoding: 'buffer' })
    return { kind: 'symlink', target: symlinkTarget(target) }
  } catch (error) {
    throw sourceError('read symlink', path, error)
  }
}
