/**
 * Tiny services for tests of what stands on top of services: they count every call, can be told to fail, and can
 * hold their answers back.
 */
import { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import type { DirectoryNode, FileNode, Node, SymlinkNode } from '../../src/model/castore/node.ts'
import { pathComponent } from '../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../src/model/castore/symlink-target.ts'
import {
  type CastoreTree,
  type CastoreTreeOptions,
  createCastoreTree,
} from '../../src/mount/tree/castore-tree.ts'
import type { EntrySink, InodeNumber, Missing, Tree, TreeEntry } from '../../src/mount/tree/interface.ts'
import type { BlobService, BlobStream, ChunkMeta } from '../../src/services/blobs/interface.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import type { RootNodes } from '../../src/services/pathinfos/root-nodes.ts'
import { equalBytes, utf8, view } from '../../src/support/bytes.ts'
import { type Call, throwIfAborted } from '../../src/support/call.ts'
import { StoreError } from '../../src/support/errors.ts'
import { silentLogger } from '../../src/support/log.ts'

/** A service that answers, fails or waits, as the test says. */
class Moody {
  /** Thrown instead of an answer. */
  failure: StoreError | undefined
  #gate: PromiseWithResolvers<void> | undefined
  /** Calls that were ended by their signal. */
  aborted = 0

  /** From now on answers wait for `open`. */
  hold(): void {
    this.#gate = Promise.withResolvers()
  }

  open(): void {
    this.#gate?.resolve()
    this.#gate = undefined
  }

  protected async mood(call: Call | undefined): Promise<void> {
    const left = Promise.withResolvers<never>()
    const leave = () => {
      this.aborted++
      left.reject(StoreError.from(call?.signal?.reason))
    }
    call?.signal?.addEventListener('abort', leave, { once: true })
    throwIfAborted(call?.signal)
    await (this.#gate ? Promise.race([this.#gate.promise, left.promise]) : Promise.resolve())
    call?.signal?.removeEventListener('abort', leave)
    if (this.failure) throw this.failure
  }
}

class FakeBlobs extends Moody implements Pick<BlobService, 'chunks' | 'openRead'> {
  readonly contents = new Map<string, () => Uint8Array>()
  readonly lists = new Map<string, readonly ChunkMeta[]>()
  chunkRequests = 0
  readRequests = 0
  readBytes = 0
  /** Reads that run at the same time, at most. */
  readsAtOnceMax = 0
  #readsAtOnce = 0
  /** Runs before each answer to a read. */
  onRead = () => {}

  add(bytes: Uint8Array): Digest {
    const digest = Digest.of(bytes)
    this.contents.set(digest.key, () => bytes)
    return digest
  }

  /** A blob of chunks of one size, each made when it is read: byte i of chunk n is n + i (mod 256). */
  addSynthetic(name: string, chunkSize: number, count: number): { digest: Digest; size: number } {
    const digest = Digest.of(utf8(name))
    const chunks = Array.from({ length: count }, (_, n) => {
      const chunk = Digest.of(utf8(`${name} ${n}`))
      this.contents.set(chunk.key, () => countingBytes(n, chunkSize))
      return { digest: chunk, size: chunkSize }
    })
    this.lists.set(digest.key, chunks)
    return { digest, size: chunkSize * count }
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    this.chunkRequests++
    await this.mood(call)
    return this.lists.get(digest.key) ?? (this.contents.has(digest.key) ? [] : undefined)
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    this.readRequests++
    this.readsAtOnceMax = Math.max(this.readsAtOnceMax, ++this.#readsAtOnce)
    try {
      await this.mood(call)
    } finally {
      this.#readsAtOnce--
    }
    this.onRead()
    const bytes = this.contents.get(digest.key)?.()
    return bytes && this.#stream(bytes)
  }

  async *#stream(bytes: Uint8Array): BlobStream {
    const half = bytes.length >> 1
    for (const piece of [bytes.subarray(0, half), bytes.subarray(half)]) {
      this.readBytes += piece.length
      if (piece.length > 0) yield piece
    }
  }
}

function countingBytes(first: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = first + i
  return bytes
}

class FakeDirectories extends Moody implements Pick<DirectoryService, 'get' | 'getRecursive'> {
  readonly contents = new Map<string, Directory>()
  requests = 0
  recursiveRequests = 0
  /** Runs before each answer. */
  onRequest = () => {}

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    this.requests++
    this.onRequest()
    await this.mood(call)
    return this.contents.get(digest.key)
  }

  async *getRecursive(digest: Digest, call?: Call): AsyncIterable<Directory> {
    this.recursiveRequests++
    await this.mood(call)
    const queue = [digest]
    for (const next of queue) {
      const directory = this.contents.get(next.key)
      if (!directory) throw new StoreError('corrupt', `directory ${next} is missing`)
      yield directory
      for (const { node } of directory.entries) if (node.kind === 'directory') queue.push(node.digest)
    }
  }
}

class FakeRootNodes extends Moody implements RootNodes {
  readonly entries: { name: Uint8Array; node: Node }[] = []
  requests = 0
  lists = 0

  add(name: string, node: Node): void {
    this.entries.push({ name: utf8(name), node })
  }

  /** Names with a dash, as store paths have one. */
  canExist(name: Uint8Array): boolean {
    return name.includes(0x2d)
  }

  async get(basename: Uint8Array, call?: Call): Promise<Node | undefined> {
    this.requests++
    await this.mood(call)
    return this.entries.find(({ name }) => equalBytes(name, basename))?.node
  }

  async *list(call?: Call): AsyncIterable<{ name: Uint8Array; node: Node }> {
    this.lists++
    for (const entry of this.entries) {
      await this.mood(call)
      yield entry
    }
    await this.mood(call)
  }
}

/** The three services below a tree, and short ways to fill them. */
export class FakeStore {
  readonly blobs = new FakeBlobs()
  readonly directories = new FakeDirectories()
  readonly rootNodes = new FakeRootNodes()

  file(contents: string | Uint8Array, executable = false): FileNode {
    const bytes = typeof contents === 'string' ? utf8(contents) : contents
    return { kind: 'file', digest: this.blobs.add(bytes), size: BigInt(bytes.length), executable }
  }

  symlink(target: string): SymlinkNode {
    return { kind: 'symlink', target: symlinkTarget(utf8(target)) }
  }

  directory(entries: Record<string, Node>): DirectoryNode {
    const named = Object.entries(entries).map(([name, node]) => ({ name: pathComponent(utf8(name)), node }))
    const directory = Directory.from(named)
    this.directories.contents.set(directory.digest.key, directory)
    return { kind: 'directory', digest: directory.digest, size: directory.size('rust') }
  }

  tree(options: Partial<CastoreTreeOptions> = {}): CastoreTree {
    return createCastoreTree({
      rootNodes: this.rootNodes,
      blobs: this.blobs,
      directories: this.directories,
      listRoot: true,
      logger: silentLogger,
      // However busy the machine is, nothing here comes from afar.
      now: () => 0,
      sources: { pathInfos: 'paths.test', directories: 'directories.test', blobs: 'blobs.test' },
      ...options,
    })
  }
}

export function isMissing(answer: TreeEntry | Missing): answer is Missing {
  return 'missing' in answer
}

/** Looks up a path from the root, component by component; each lookup takes a reference. */
export async function walk(tree: Tree, path: string): Promise<TreeEntry> {
  let entry: TreeEntry = { inode: 1, attributes: tree.getattr(1) }
  for (const name of path.split('/')) {
    const answer = await tree.lookup(entry.inode, utf8(name))
    if (isMissing(answer)) throw new Error(`no ${name} in ${path}`)
    entry = answer
  }
  return entry
}

export async function readAll(tree: Tree, inode: InodeNumber, offset: number, size: number): Promise<Buffer> {
  return Buffer.concat(await tree.read(inode, offset, size))
}

export interface Listed {
  readonly name: string
  readonly entry: TreeEntry
  readonly cookie: number
}

/** Takes at most `room` entries. */
export class PageSink implements EntrySink {
  readonly taken: Listed[] = []
  readonly #room: number

  constructor(room: number) {
    this.#room = room
  }

  add(name: Uint8Array, entry: TreeEntry, cookie: number): boolean {
    if (this.taken.length >= this.#room) return false
    this.taken.push({ name: view(name).toString(), entry, cookie })
    return true
  }
}

/** A whole listing, read in pages of `room` entries from `cookie` on. */
export async function list(tree: Tree, inode: InodeNumber, room: number, cookie = 0): Promise<Listed[]> {
  const all: Listed[] = []
  for (let next = cookie; ; next = all.at(-1)!.cookie) {
    const sink = new PageSink(room)
    await tree.readdir(inode, next, sink, false)
    if (sink.taken.length === 0) return all
    all.push(...sink.taken)
  }
}
