/**
 * A NAR that can be read from anywhere (spec §6.4). What is held is the encoding of each directory, once, with the size
 * of the NAR of everything below it: so a tree in which one directory stands in many places costs no more than that
 * directory, and a position is found by walking down to it past what lies before.
 */
import type { Digest } from '../model/castore/digest.ts'
import { Directory } from '../model/castore/directory.ts'
import type { Entry, FileNode, Node } from '../model/castore/node.ts'
import type { NarEvent } from '../model/nar/event.ts'
import {
  DIRECTORY_HEADER_BYTES,
  entryBytes,
  entryHeaderBytes,
  fileBytes,
  fileHeaderBytes,
  NAR_HEADER_BYTES,
  NODE_END_BYTES,
  symlinkBytes,
} from '../model/nar/size.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import { readBlob } from '../services/blobs/read-blob.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { MissingError, StoreError } from '../support/errors.ts'
import {
  NAR_PREFETCH_FILES_MAX,
  NAR_READER_BYTES_MAX,
  NAR_TURN_MS_MAX,
  SMALL_BLOB_BYTES_MAX,
  TREE_DEPTH_MAX,
} from '../support/limits.ts'
import { Turn } from '../support/turn.ts'
import { readBlobRange } from './blob-range.ts'
import { fileSize, nodeEvent } from './nar-walk.ts'
import type { Contents } from './render-nar.ts'

export interface NarReader {
  /** Bytes of the NAR. */
  readonly size: number

  /**
   * The bytes from `start` up to `end`, which both end at `size` at the latest; all of them without a range. May be
   * called again, and for several ranges at the same time. Throws as `renderNar` does.
   */
  read(range?: { readonly start: number; readonly end?: number | undefined }): AsyncGenerator<Uint8Array>
}

/**
 * Fetches the directories below `root`, and nothing else. Throws `corrupt` when one is missing, `exhausted` for trees
 * nested too deep, directories above NAR_READER_BYTES_MAX, and NARs of 2^53 bytes or more.
 */
export async function openNar(services: Contents, root: Node, call?: Call): Promise<NarReader> {
  const index = new NarIndex()
  if (root.kind === 'directory') await index.load(services.directories, root.digest, call)
  return new SeekableNar(services.blobs, index, root, call)
}

interface Indexed {
  readonly encoded: Uint8Array
  /** Of its NAR, once all below it is measured. */
  bytes: number
  /** Levels of directories, itself included. */
  height: number
}

class NarIndex {
  readonly #directories = new Map<string, Indexed>()

  async load(directories: DirectoryService, root: Digest, call?: Call): Promise<void> {
    const turn = new Turn(NAR_TURN_MS_MAX)
    let bytes = 0
    for await (const directory of directories.getRecursive(root, call)) {
      if (turn.isLong) await new Promise(setImmediate)
      bytes += directory.encoded.length
      if (bytes > NAR_READER_BYTES_MAX)
        throw new StoreError(
          'exhausted',
          `the directories below ${root} take more than ${NAR_READER_BYTES_MAX} bytes`,
        )
      this.#directories.set(directory.digest.key, { encoded: directory.encoded, bytes: 0, height: 0 })
    }
    await this.#measure(root, turn, call)
  }

  directory(digest: Digest): Directory {
    return Directory.decode(this.#indexed(digest).encoded)
  }

  /** Bytes of the NAR of a node. */
  bytesOf(node: Node): number {
    if (node.kind === 'directory') return this.#indexed(node.digest).bytes
    if (node.kind === 'symlink') return symlinkBytes(node.target.length)
    return fileBytes(fileSize(node), node.executable)
  }

  /** From the leaves up, without recursion. */
  async #measure(root: Digest, turn: Turn, call?: Call): Promise<void> {
    const open: { readonly digest: Digest; readonly children: Digest[]; readonly directory: Directory }[] = []
    const enter = (digest: Digest) => {
      if (this.#indexed(digest).height > 0) return
      if (open.length >= TREE_DEPTH_MAX) throw tooDeep()
      const directory = this.directory(digest)
      open.push({ digest, directory, children: [...directory.children()].map((child) => child.digest) })
    }
    enter(root)
    for (let top = open.at(-1); top; top = open.at(-1)) {
      const child = top.children.pop()
      if (child) {
        enter(child)
      } else {
        this.#finish(top.digest, top.directory)
        open.pop()
      }
      if (turn.isLong) await new Promise(setImmediate)
      throwIfAborted(call?.signal)
    }
    if (this.#indexed(root).height > TREE_DEPTH_MAX) throw tooDeep()
  }

  #finish(digest: Digest, { entries }: Directory): void {
    const indexed = this.#indexed(digest)
    let bytes = DIRECTORY_HEADER_BYTES + NODE_END_BYTES
    let below = 0
    for (const { name, node } of entries) {
      bytes += entryBytes(name.length) + this.bytesOf(node)
      if (node.kind === 'directory') below = Math.max(below, this.#indexed(node.digest).height)
    }
    if (!Number.isSafeInteger(bytes + NAR_HEADER_BYTES))
      throw new StoreError('exhausted', `the NAR of directory ${digest} has 2^53 bytes or more`)
    indexed.bytes = bytes
    indexed.height = below + 1
  }

  #indexed(digest: Digest): Indexed {
    const indexed = this.#directories.get(digest.key)
    if (!indexed) throw new MissingError(`directory ${digest}`)
    return indexed
  }
}

function tooDeep(): StoreError {
  return new StoreError('exhausted', `the tree is nested deeper than ${TREE_DEPTH_MAX} directories`)
}

/** One after the other; what lies before the range is only counted. */
interface Step {
  /** Bytes of the NAR that nothing is written for, before the events. */
  readonly skipped: number
  readonly events: readonly NarEvent[]
  readonly file?: FileNode | undefined
  /** The part of the contents that is wanted; empty when only what stands around them is. */
  readonly from: number
  readonly to: number
}

class SeekableNar implements NarReader {
  readonly size: number
  readonly #blobs: BlobService
  readonly #index: NarIndex
  readonly #root: Node
  readonly #call: Call | undefined

  constructor(blobs: BlobService, index: NarIndex, root: Node, call: Call | undefined) {
    this.#blobs = blobs
    this.#index = index
    this.#root = root
    this.#call = call
    this.size = NAR_HEADER_BYTES + index.bytesOf(root)
  }

  async *read(range?: { start: number; end?: number | undefined }): AsyncGenerator<Uint8Array> {
    const end = Math.min(range?.end ?? this.size, this.size)
    const start = Math.min(range?.start ?? 0, end)
    const writer = new NarWriter()
    const window = new Window(start, end)
    const steps = mapConcurrent(
      walkRange(this.#index, this.#root, start, end),
      NAR_PREFETCH_FILES_MAX,
      (step, call) => this.#fetchAhead(step, call),
      this.#call,
    )
    for await (const step of steps) {
      if (step.skipped > 0) {
        yield* window.cut(writer.take())
        window.skip(step.skipped)
      }
      for (const event of step.events) writer.write(event)
      if (step.file) yield* this.#file(writer, window, step.file, step)
      if (writer.pendingBytes >= SMALL_BLOB_BYTES_MAX) yield* window.cut(writer.take())
    }
    yield* window.cut(writer.take())
  }

  async #fetchAhead(step: Step, call: Call): Promise<Step & { contents?: Uint8Array | undefined }> {
    const { file, from, to } = step
    if (!file || from >= to || file.size > BigInt(SMALL_BLOB_BYTES_MAX)) return step
    const contents = await readBlob(this.#blobs, file.digest, Number(file.size), call)
    if (!contents) throw new MissingError(`blob ${file.digest}`)
    return { ...step, contents }
  }

  async *#file(
    writer: NarWriter,
    window: Window,
    file: FileNode,
    { from, to, contents }: Step & { contents?: Uint8Array | undefined },
  ): AsyncGenerator<Uint8Array> {
    const size = Number(file.size)
    if (contents) {
      writer.write({ type: 'contents', bytes: contents })
    } else if (size > 0) {
      yield* window.cut(writer.take())
      writer.skipContents(from)
      window.skip(from)
      for await (const bytes of this.#contents(file, from, to)) {
        writer.skipContents(bytes.length)
        yield* window.cut([bytes])
      }
      writer.skipContents(size - to)
      window.skip(size - to)
    }
    writer.write({ type: 'end-file' })
  }

  async *#contents(file: FileNode, from: number, to: number): AsyncGenerator<Uint8Array> {
    if (from < to) yield* readBlobRange(this.#blobs, file, from, to, this.#call)
  }
}

/** Passes on what lies in a range of the NAR, of pieces that follow each other. */
class Window {
  readonly #start: number
  readonly #end: number
  #position = 0

  constructor(start: number, end: number) {
    this.#start = start
    this.#end = end
  }

  skip(bytes: number): void {
    this.#position += bytes
  }

  *cut(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
    for (const piece of pieces) {
      const from = Math.max(0, this.#start - this.#position)
      const to = Math.min(piece.length, this.#end - this.#position)
      this.#position += piece.length
      if (from < to) yield piece.subarray(from, to)
    }
  }
}

interface Level {
  readonly entries: readonly Entry[]
  next: number
}

/** The steps that write `start` up to `end` of a NAR, and little around it. */
function* walkRange(index: NarIndex, root: Node, start: number, end: number): Generator<Step> {
  const levels: Level[] = []
  let position = NAR_HEADER_BYTES
  let skipped = 0
  const step = (node: Node, before: readonly NarEvent[]): Step => {
    const passed = skipped
    skipped = 0
    if (node.kind === 'directory') {
      levels.push({ entries: index.directory(node.digest).entries, next: 0 })
      position += DIRECTORY_HEADER_BYTES
      return { skipped: passed, events: [...before, { type: 'directory' }], from: 0, to: 0 }
    }
    const begin = position
    position += index.bytesOf(node)
    if (node.kind === 'symlink')
      return {
        skipped: passed,
        events: [...before, { type: 'symlink', target: node.target }],
        from: 0,
        to: 0,
      }
    const contents = begin + fileHeaderBytes(node.executable)
    const from = Math.max(0, Math.min(fileSize(node), start - contents))
    const to = Math.max(from, Math.min(fileSize(node), end - contents))
    return { skipped: passed, events: [...before, nodeEvent(node)], file: node, from, to }
  }
  if (end > position) yield step(root, [])
  for (let level = levels.at(-1); level && position < end; level = levels.at(-1)) {
    const entry = level.entries[level.next++]
    if (!entry) {
      levels.pop()
      position += levels.length > 0 ? 2 * NODE_END_BYTES : NODE_END_BYTES
      yield { skipped, events: [{ type: 'end-directory' }], from: 0, to: 0 }
      skipped = 0
      continue
    }
    const bytes = entryBytes(entry.name.length) + index.bytesOf(entry.node)
    if (position + bytes <= start) {
      position += bytes
      skipped += bytes
      continue
    }
    position += entryHeaderBytes(entry.name.length)
    yield step(entry.node, [{ type: 'entry', name: entry.name }])
    // The entry ends with its node; a directory's end comes later.
    if (entry.node.kind !== 'directory') position += NODE_END_BYTES
  }
}
