/**
 * A tree moves from one castore to another: only the blobs that the destination lacks, then all its directories,
 * leaves first.
 */
import type { Digest } from '../model/castore/digest.ts'
import type { Directory } from '../model/castore/directory.ts'
import type { DirectoryNode, FileNode, Node } from '../model/castore/node.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { COPY_BLOBS_AHEAD, COPY_LOOKUPS_MAX, DIRECTORY_UPLOAD_BYTES_MAX } from '../support/limits.ts'
import { BlobCopier, type BlobCopyOptions } from './copy-blob.ts'

export interface Castore {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

export interface CopyTreeOptions extends Call {
  /** Ask for every blob, and send every directory, whatever directories the destination has already. */
  readonly thorough: boolean
}

export interface CopiedTree {
  /** Whether something was left alone because the destination has the directory above it. */
  readonly assumed: boolean
}

/** Copies trees between two castores; one for all trees of a copy, so that what they share moves once. */
export class TreeCopier {
  readonly #from: Castore
  readonly #to: Castore
  readonly #blobs: BlobCopier

  constructor(from: Castore, to: Castore, options: BlobCopyOptions) {
    this.#from = from
    this.#to = to
    this.#blobs = new BlobCopier(from.blobs, to.blobs, options)
  }

  /**
   * Makes the destination have `root` and everything below it. Unless `thorough`, what is below a directory that the
   * destination has is taken to be there as well: stores are written from the leaves to the root. A store that lost
   * something, or a cache that keeps single directories, breaks that rule: the caller proves the result (by its NAR)
   * and repeats a copy that `assumed` too much. Throws `corrupt` when the source is not complete.
   */
  async copy(root: Node, options: CopyTreeOptions): Promise<CopiedTree> {
    if (root.kind === 'symlink') return { assumed: false }
    if (root.kind === 'directory') return await this.#copyDirectory(root, options)
    await this.#blobs.copy(root, options)
    return { assumed: false }
  }

  async #copyDirectory(root: DirectoryNode, options: CopyTreeOptions): Promise<CopiedTree> {
    if (!options.thorough && (await this.#to.directories.get(root.digest, options))) return { assumed: true }
    const closure = await this.#closure(root.digest, options)
    const absent = options.thorough
      ? [...closure.values()]
      : await this.#absent(root.digest, closure, options)
    const copies = mapConcurrent(
      filesOf(absent),
      COPY_BLOBS_AHEAD,
      (file, call) => this.#blobs.copy(file, call),
      options,
    )
    for await (const _ of copies);
    await this.#putDirectories(root.digest, closure, options)
    return { assumed: absent.length < closure.size }
  }

  /** All directories by digest. They are held, as the other side wants them in the opposite order. */
  async #closure(root: Digest, call: Call): Promise<Map<string, Directory>> {
    const closure = new Map<string, Directory>()
    let bytes = 0
    for await (const directory of this.#from.directories.getRecursive(root, call)) {
      closure.set(directory.digest.key, directory)
      bytes += directory.encoded.length
      if (bytes > DIRECTORY_UPLOAD_BYTES_MAX)
        throw new StoreError(
          'exhausted',
          `more than ${DIRECTORY_UPLOAD_BYTES_MAX} bytes of directories below ${root}`,
        )
    }
    if (closure.size === 0) throw new StoreError('corrupt', `directory ${root} is missing from the source`)
    return closure
  }

  /** The directories that the destination lacks; only those below absent ones are asked for. */
  async #absent(root: Digest, closure: ReadonlyMap<string, Directory>, call: Call): Promise<Directory[]> {
    const absent = [closure.get(root.key)!]
    const met = new Set([root.key])
    for (let level = absent; level.length > 0; ) {
      const children = level.flatMap((directory) => [...directory.children()])
      const unmet = children.filter(({ digest }) => !met.has(digest.key) && met.add(digest.key))
      const found = mapConcurrent(
        unmet,
        COPY_LOOKUPS_MAX,
        async ({ digest }, own) =>
          (await this.#to.directories.get(digest, own)) ? undefined : closure.get(digest.key)!,
        call,
      )
      level = []
      for await (const directory of found) if (directory) level.push(directory)
      absent.push(...level)
    }
    return absent
  }

  /** All of them, also those that the destination has: an upload of directories has to be complete (spec §2.3). */
  async #putDirectories(root: Digest, closure: ReadonlyMap<string, Directory>, call: Call): Promise<void> {
    // A putter has no other way to be given up.
    const controller = new AbortController()
    const signal = call.signal ? AbortSignal.any([call.signal, controller.signal]) : controller.signal
    const putter = this.#to.directories.startPutter({ signal })
    try {
      for (const directory of leavesFirst(root, closure)) {
        throwIfAborted(call.signal)
        await putter.put(directory)
      }
      await putter.close()
    } catch (error) {
      controller.abort(StoreError.from(error))
      throw error
    }
  }
}

/** Each file once, as the same contents often stand in many places. */
function* filesOf(directories: Iterable<Directory>): Generator<FileNode> {
  const met = new Set<string>()
  for (const { entries } of directories)
    for (const { node } of entries) {
      if (node.kind !== 'file' || met.has(node.digest.key)) continue
      met.add(node.digest.key)
      yield node
    }
}

/** Depth first, every directory after all that it refers to. */
function* leavesFirst(root: Digest, closure: ReadonlyMap<string, Directory>): Generator<Directory> {
  const met = new Set([root.key])
  const open = [{ directory: closure.get(root.key)!, children: closure.get(root.key)!.children() }]
  for (let top = open.at(-1); top; top = open.at(-1)) {
    const next = top.children.next()
    if (next.done) {
      open.pop()
      yield top.directory
    } else if (!met.has(next.value.digest.key)) {
      met.add(next.value.digest.key)
      const directory = closure.get(next.value.digest.key)!
      open.push({ directory, children: directory.children() })
    }
  }
}
