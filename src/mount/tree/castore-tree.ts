import type { Digest } from '../../model/castore/digest.ts'
import type { Entry, Node } from '../../model/castore/node.ts'
import { pathComponentFault } from '../../model/castore/path-component.ts'
import type { BlobService } from '../../services/blobs/interface.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import type { RootNodes } from '../../services/pathinfos/root-nodes.ts'
import { printable } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import {
  FILL_FILE_BYTES_MAX,
  MOUNT_CHUNK_CACHE_BYTES,
  MOUNT_CHUNK_LISTS_MAX,
  MOUNT_DIRECTORY_CACHE_ENTRIES,
  MOUNT_FETCH_BYTES_MAX,
  MOUNT_FETCHES_MAX,
  MOUNT_NEGATIVE_MS,
  MOUNT_ROOT_NAMES_MAX,
  PROFILE_BYTES_MAX,
  SMALL_FILE_BYTES_MAX,
  TREE_DEPTH_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { AccessRecorder } from './access-recorder.ts'
import { DirectoryLoader } from './directory-loader.ts'
import { type SourceNames, UNNAMED_SOURCES } from './failures.ts'
import { FetchFiller } from './fetch-filler.ts'
import { type FileContents, FileReader } from './file-reader.ts'
import { FILL_FROM_AFAR, FILL_FROM_DISK, FillAhead } from './fill-ahead.ts'
import { nodeAttributes } from './identity.ts'
import { InodeTable, ROOT_INODE } from './inode-table.ts'
import {
  type Attributes,
  type EntrySink,
  type InodeNumber,
  type Missing,
  type PackedEntries,
  type PageFiller,
  type RawFile,
  type Soon,
  type Statfs,
  type Tree,
  type TreeEntry,
  TreeFault,
} from './interface.ts'
import type { KeptDirectory } from './kept-directory.ts'
import { type NativeTree, nativeTree } from './native-tree.ts'
import type { ProfileEntry } from './profile.ts'
import { ProfilePrefetch } from './profile-prefetch.ts'
import { type Range, ReadAhead } from './read-ahead.ts'
import type { ReadPlan } from './read-plan.ts'
import { MISSING_FOREVER, RootDirectory } from './root-directory.ts'
import { GONE, RootListing } from './root-listing.ts'
import { RootNames } from './root-names.ts'
import { RootWatch } from './root-watch.ts'
import { SiblingsAhead } from './siblings-ahead.ts'
import { whenReady } from './soon.ts'
import { createMountStats, type MountStats } from './stats.ts'
import { SubtreeAhead } from './subtree-ahead.ts'
import { type XattrKind, xattrNames, xattrValue } from './xattrs.ts'

/** What the tree may keep and do at once; see the limits of the same meaning in support/limits.ts. */
export interface TreeLimits {
  readonly chunkCacheBytes: number
  readonly chunkListsMax: number
  readonly directoryCacheEntries: number
  readonly fetchesMax: number
  readonly fetchBytesMax: number
  readonly rootNamesMax: number
  readonly profileBytesMax: number
}

const DEFAULT_LIMITS: TreeLimits = {
  chunkCacheBytes: MOUNT_CHUNK_CACHE_BYTES,
  chunkListsMax: MOUNT_CHUNK_LISTS_MAX,
  directoryCacheEntries: MOUNT_DIRECTORY_CACHE_ENTRIES,
  fetchesMax: MOUNT_FETCHES_MAX,
  fetchBytesMax: MOUNT_FETCH_BYTES_MAX,
  rootNamesMax: MOUNT_ROOT_NAMES_MAX,
  profileBytesMax: PROFILE_BYTES_MAX,
}

export interface CastoreTreeOptions {
  readonly rootNodes: RootNodes
  /** What they give is verified already. */
  readonly blobs: Pick<BlobService, 'chunks' | 'openRead'>
  readonly directories: Pick<DirectoryService, 'get' | 'getRecursive'>
  /** What a database of this machine has under a digest, on the spot: the encoding of a directory, not verified. */
  readonly localDirectory?: ((digest: Digest) => Uint8Array | undefined) | undefined
  /** Blobs that lie on this machine as they are. */
  readonly openLocalFile?:
    | ((digest: Digest, call?: Call) => Promise<(RawFile & { readonly size: number }) | undefined>)
    | undefined
  /** Whether the root may be listed (spec §5.6); else that is EPERM. */
  readonly listRoot: boolean
  /** Hears of what fails in the background; what fails in a call is thrown. */
  readonly logger: Logger
  /** How long the list of store paths counts as complete, in milliseconds. */
  readonly negativeMs?: number | undefined
  /** Is told what is touched. */
  readonly recorder?: AccessRecorder | undefined
  /** Is fetched ahead. */
  readonly profile?: readonly ProfileEntry[] | undefined
  /** What the services are called in messages. */
  readonly sources?: SourceNames | undefined
  readonly limits?: Partial<TreeLimits> | undefined
  /** Milliseconds on any clock that never goes back. */
  readonly now?: (() => number) | undefined
}

/** What a tree keeps in memory. */
export interface TreeUsage {
  readonly inodes: number
  readonly directoryEntries: number
  readonly chunkListEntries: number
  readonly chunkBytes: number
}

export interface CastoreTree extends Tree {
  readonly stats: MountStats
  readonly usage: TreeUsage
  /** Looks up again what is known at the root; resolves when everything that is gone was told of. */
  checkRoot(): Promise<void>
  /** Ends what runs in the background. Calls that are waiting end by their own signals. */
  close(): void
}

/** The filesystem of store paths: lazy, in that nothing is fetched before it is needed (spec §5). */
export function createCastoreTree(options: CastoreTreeOptions): CastoreTree {
  return new LazyTree(options)
}

const STATFS_BLOCK_BYTES = 4096
const NO_PIECES: readonly Uint8Array[] = []

class LazyTree implements CastoreTree {
  readonly stats = createMountStats()
  readonly #inodes = new InodeTable()
  readonly #names = new RootNames(this.#inodes)
  readonly #readAhead = new ReadAhead()
  readonly #closing = new AbortController()
  readonly #root: RootDirectory
  readonly #rootWatch: RootWatch
  #rootChanged: (name: Uint8Array) => void = () => {}
  readonly #listing: RootListing | undefined
  readonly #directories: DirectoryLoader
  readonly #subtrees: SubtreeAhead
  readonly #recorder: AccessRecorder | undefined
  readonly #prefetch: ProfilePrefetch | undefined
  readonly #now: () => number
  readonly #files: FileReader
  readonly #siblings: SiblingsAhead
  readonly #openLocalFile: CastoreTreeOptions['openLocalFile']
  readonly #logger: Logger
  #fillAhead: FillAhead

  constructor(options: CastoreTreeOptions) {
    const { rootNodes, blobs, directories, logger, sources = UNNAMED_SOURCES } = options
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    const { stats } = this
    const closing = this.#closing.signal
    this.#now = options.now ?? (() => performance.now())
    const slots = new Semaphore(limits.fetchesMax)
    this.#root = new RootDirectory({
      rootNodes,
      source: sources.pathInfos,
      inodes: this.#inodes,
      names: this.#names,
      slots,
      stats: stats.rootLookups,
      onFound: (basename, node) => {
        if (this.#prefetch) this.#inBackground(this.#prefetch.found(basename, node))
        if (node.kind === 'directory') this.#subtrees.entered(node.digest)
      },
    })
    this.#rootWatch = new RootWatch({
      rootNodes,
      names: this.#names,
      inodes: this.#inodes,
      gone: (name) => this.#rootChanged(name),
      logger,
      closing,
    })
    if (options.listRoot)
      this.#listing = new RootListing({
        rootNodes,
        source: sources.pathInfos,
        freshMs: options.negativeMs ?? MOUNT_NEGATIVE_MS,
        namesMax: limits.rootNamesMax,
        stats: stats.rootListings,
        now: this.#now,
        closing,
      })
    this.#directories = new DirectoryLoader({
      directories,
      localDirectory: options.localDirectory,
      source: sources.directories,
      entriesMax: limits.directoryCacheEntries,
      slots,
      stats: stats.directories,
    })
    this.#subtrees = new SubtreeAhead({
      directories,
      keep: (directory) => this.#directories.keep(directory),
      stats: stats.subtrees,
      logger,
      closing,
    })
    this.#files = new FileReader({
      ...limits,
      blobs,
      source: sources.blobs,
      slots,
      stats,
      now: this.#now,
      logger,
      closing,
    })
    this.#fillAhead = new FillAhead(new FetchFiller(this.#files, logger, closing), FILL_FROM_AFAR)
    this.#siblings = new SiblingsAhead(this.#files, logger, closing)
    this.#openLocalFile = options.openLocalFile
    this.#logger = logger
    this.#recorder = options.recorder
    if (!options.profile) return
    this.#prefetch = new ProfilePrefetch({
      profile: options.profile,
      rootNodes,
      directories: this.#directories,
      files: this.#files,
      enter: (storePath) => this.#subtrees.all(storePath),
      bytesMax: limits.profileBytesMax,
      logger,
      closing,
    })
    this.#inBackground(this.#prefetch.start())
  }

  get usage(): TreeUsage {
    return {
      inodes: this.#inodes.count,
      directoryEntries: this.#directories.weight,
      chunkListEntries: this.#files.listedChunks,
      chunkBytes: this.#files.chunkBytes,
    }
  }

  onRootChange(gone: (name: Uint8Array) => void): void {
    this.#rootChanged = gone
  }

  checkRoot(): Promise<void> {
    this.#listing?.refreshNext()
    return this.#rootWatch.checkNow()
  }

  fillAhead(filler: PageFiller): void {
    this.#fillAhead = new FillAhead(filler, FILL_FROM_DISK)
  }

  close(): void {
    this.#closing.abort(new StoreError('cancelled', 'unmounted'))
  }

  lookup(parent: InodeNumber, name: Uint8Array, call?: Call): Soon<TreeEntry | Missing> {
    if (parent === ROOT_INODE) return this.#root.lookup(name, call)
    this.#expectDirectory(parent)
    if (pathComponentFault(name)) return MISSING_FOREVER
    return whenReady(this.#load(parent, call), (directory) => this.#find(parent, directory, name))
  }

  forget(inode: InodeNumber, references: number): void {
    if (!this.#inodes.forget(inode, references)) return
    this.#names.release(inode)
    this.#readAhead.forget(inode)
  }

  getattr(inode: InodeNumber): Attributes {
    return this.#inodes.attributes(inode)
  }

  readlink(inode: InodeNumber): Uint8Array {
    if (this.getattr(inode).kind !== 'symlink') throw new TreeFault('EINVAL')
    return this.#inodes.target(inode)
  }

  readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean, call?: Call): Soon<void> {
    if (inode === ROOT_INODE) return this.#readRoot(cookie, sink, remember, call)
    this.#expectDirectory(inode)
    return whenReady(this.#load(inode, call), (directory) => {
      const packed = remember && sink.addPacked ? this.#packed(inode, directory) : undefined
      if (packed) sink.addPacked!(packed, cookie)
      else this.#offerEntries(sink, inode, directory.directory.entries, cookie, remember)
      if (remember) this.#fillAhead.endPage(inode, cookie === 0)
    })
  }

  #packed(parent: InodeNumber, { encoded, index }: KeptDirectory): PackedEntries | undefined {
    const native = nativeTree()
    if (!native || !index) return undefined
    const inodes = this.#inodes
    const fillAhead = this.#fillAhead
    return {
      parent,
      encoded,
      index,
      native,
      get tables() {
        return inodes.tables
      },
      makeRoom: () => inodes.makeRoom(),
      listed: (records, contents) => fillAhead.addRecords(records, contents),
    }
  }

  #offerEntries(
    sink: EntrySink,
    directory: InodeNumber,
    entries: readonly Entry[],
    cookie: number,
    remember: boolean,
  ): void {
    const parent: Parent = {
      ino: this.getattr(directory).ino,
      intern: (name, node, position) => this.#inodes.intern(node, directory, position, name),
    }
    for (let position = cookie; position < entries.length; position++) {
      const entry = entries[position]!
      const inode = this.#offer(sink, parent, entry, position, remember)
      if (inode === undefined) return
      if (remember && entry.node.kind === 'file') this.#fillAhead.add(inode, entry.node)
    }
  }

  read(inode: InodeNumber, offset: number, size: number, call?: Call): Soon<readonly Uint8Array[]> {
    const { kind, size: recorded } = this.getattr(inode)
    if (kind === 'directory') throw new TreeFault('EISDIR')
    if (kind === 'symlink') throw new TreeFault('EINVAL')
    const file = { digest: this.#inodes.digest(inode), size: Number(recorded) }
    if (!Number.isSafeInteger(file.size))
      throw this.#located(inode, tooLarge(file.digest.toString(), recorded))
    const range = { start: offset, end: Math.min(offset + size, file.size) }
    if (range.start >= range.end) return NO_PIECES
    this.#recorder?.read(inode, range, () => this.#pathOf(inode))
    if (file.size <= FILL_FILE_BYTES_MAX) this.#fillAhead.read(inode, this.#inodes.parent(inode))
    const pieces = this.#files.read(file, range, call)
    const ahead = this.#readAhead.next(inode, range, file.size)
    if (ahead) this.#readAhead.reached(inode, this.#files.prefetch(file, ahead))
    else if (this.#files.isFar) this.#fetchBeside(inode, file, range, pieces instanceof Promise)
    return this.#locate(inode, pieces)
  }

  planRead(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean {
    if (this.#recorder || !this.#inodes.isAlive(inode) || !Number.isSafeInteger(offset)) return false
    const { kind, size: recorded } = this.getattr(inode)
    const fileSize = Number(recorded)
    if (kind !== 'file' || offset >= fileSize || size === 0 || !Number.isSafeInteger(fileSize)) return false
    const file = { digest: this.#inodes.digest(inode), size: fileSize }
    const isPlanned = this.#files.plan(file, { start: offset, end: Math.min(offset + size, fileSize) }, plan)
    if (isPlanned && fileSize <= FILL_FILE_BYTES_MAX) this.#fillAhead.read(inode, this.#inodes.parent(inode))
    return isPlanned
  }

  /** Whoever reads from afar waits for a round trip each time: what may be next comes with it. */
  #fetchBeside(inode: InodeNumber, file: FileContents, range: Range, isMissing: boolean): void {
    const beside = this.#readAhead.beside(inode, range, file.size)
    if (beside) this.#files.prefetchWhenListed(file, beside)
    if (!isMissing || file.size > SMALL_FILE_BYTES_MAX) return
    const parent = this.#inodes.parent(inode)
    if (parent !== ROOT_INODE && this.#inodes.isAlive(parent))
      this.#siblings.missed(parent, this.#directories.peek(this.#inodes.digest(parent))?.directory)
  }

  listxattr(inode: InodeNumber): readonly string[] {
    const kind = this.#xattrKind(inode)
    return kind ? xattrNames(kind) : []
  }

  getxattr(inode: InodeNumber, name: string): Uint8Array | undefined {
    const kind = this.#xattrKind(inode)
    return kind && xattrValue(kind, this.#inodes.digest(inode), name)
  }

  async localFile(inode: InodeNumber, call?: Call): Promise<RawFile | undefined> {
    const { kind, size } = this.getattr(inode)
    if (kind !== 'file') return undefined
    const file = await this.#openLocalFile?.(this.#inodes.digest(inode), call)
    // Its directory lies about the size: the kernel would show what no reader of ours would get.
    if (!file || BigInt(file.size) === size) return file
    await file[Symbol.asyncDispose]()
    return undefined
  }

  statfs(): Statfs {
    const bytes = this.#inodes.fileBytes
    const blockSize = BigInt(STATFS_BLOCK_BYTES)
    return {
      blockSize: STATFS_BLOCK_BYTES,
      blocks: (bytes + blockSize - 1n) / blockSize,
      files: BigInt(this.#inodes.count),
    }
  }

  #find(parent: InodeNumber, kept: KeptDirectory, name: Uint8Array): TreeEntry | Missing {
    const native = nativeTree()
    if (native && kept.index) return this.#findPacked(parent, kept, kept.index, name, native)
    const { directory } = kept
    const position = directory.indexOf(name)
    if (position < 0) return MISSING_FOREVER
    return this.#inodes.handOut(
      this.#inodes.intern(directory.entries[position]!.node, parent, position, name),
    )
  }

  #findPacked(
    parent: InodeNumber,
    { encoded }: KeptDirectory,
    index: Uint32Array,
    name: Uint8Array,
    native: NativeTree,
  ): TreeEntry | Missing {
    for (;;) {
      const inode = native.lookupEntry(this.#inodes.tables, encoded, index, parent, name)
      if (inode === undefined) throw new TreeFault('ESTALE')
      if (inode > 0) return this.#inodes.handOut(inode)
      if (inode === 0) return MISSING_FOREVER
      this.#inodes.makeRoom()
    }
  }

  #readRoot(cookie: number, sink: EntrySink, remember: boolean, call: Call | undefined): Soon<void> {
    const listing = this.#listing
    if (!listing) throw new TreeFault('EPERM')
    if (cookie === 0) listing.begin()
    const parent: Parent = {
      ino: this.getattr(ROOT_INODE).ino,
      intern: (name, node) => this.#names.intern(name, node),
    }
    // What is known is handed out before anything is waited for; false when there was nothing to hand out.
    const offerKnown = () => {
      for (let position = cookie; ; position++) {
        const entry = listing.at(position)
        if (entry === undefined) return position > cookie
        if (entry !== GONE && this.#offer(sink, parent, entry, position, remember) === undefined) return true
      }
    }
    if (offerKnown()) return
    return listing.has(cookie, call).then((has) => void (has && offerKnown()))
  }

  /** The inode, or 0 without `remember`. `undefined` when the sink is full; then the entry leaves no trace. */
  #offer(
    sink: EntrySink,
    parent: Parent,
    { name, node }: { name: Uint8Array; node: Node },
    position: number,
    remember: boolean,
  ): InodeNumber | undefined {
    const cookie = position + 1
    if (!remember) {
      const entry = { inode: 0, attributes: nodeAttributes(node, parent.ino, name) }
      return sink.add(name, entry, cookie) ? 0 : undefined
    }
    const inode = parent.intern(name, node, position)
    if (!sink.add(name, { inode, attributes: this.getattr(inode) }, cookie)) {
      this.forget(inode, 0)
      return undefined
    }
    this.#inodes.reference(inode)
    return inode
  }

  #load(inode: InodeNumber, call: Call | undefined): Soon<KeptDirectory> {
    this.#recorder?.listed(inode, () => this.#pathOf(inode))
    const began = this.#now()
    const directory = this.#directories.get(this.#inodes.digest(inode), call)
    if (!(directory instanceof Promise)) return directory
    return this.#locate(
      inode,
      directory.then((fetched) => this.#noteFetch(inode, began, fetched)),
    )
  }

  #noteFetch(inode: InodeNumber, began: number, fetched: KeptDirectory): KeptDirectory {
    const parent = this.#inodes.isAlive(inode) ? this.#inodes.parent(inode) : ROOT_INODE
    const took = this.#now() - began
    if (parent === ROOT_INODE) this.#subtrees.fetchedTop(fetched.digest, took)
    else if (this.#inodes.isAlive(parent)) this.#subtrees.fetched(this.#inodes.digest(parent), took)
    return fetched
  }

  #expectDirectory(inode: InodeNumber): void {
    if (this.getattr(inode).kind !== 'directory') throw new TreeFault('ENOTDIR')
  }

  #xattrKind(inode: InodeNumber): XattrKind | undefined {
    const { kind } = this.getattr(inode)
    return inode === ROOT_INODE || kind === 'symlink' ? undefined : kind
  }

  /** Failures of what is fetched for an inode gain the store path that it is below. */
  #locate<T>(inode: InodeNumber, value: Soon<T>): Soon<T> {
    if (!(value instanceof Promise)) return value
    return value.catch((error: unknown) => {
      throw this.#located(inode, error)
    })
  }

  #located(inode: InodeNumber, error: unknown): StoreError {
    const storePath = this.#storePathOf(inode)
    return storePath ? withContext(storePath, error) : StoreError.from(error)
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error) => this.#logger.warn({ err: error }, 'fetching ahead failed'))
  }

  /** From the store path down; `undefined` when a directory on the way is forgotten. A file may have several. */
  #pathOf(inode: InodeNumber): Uint8Array[] | undefined {
    const names: Uint8Array[] = []
    let at = inode
    for (let depth = 0; depth < TREE_DEPTH_MAX && this.#inodes.isAlive(at) && at !== ROOT_INODE; depth++) {
      const atRoot = this.#names.nameOf(at)
      if (atRoot) return [atRoot, ...names]
      const parent = this.#inodes.parent(at)
      const name = this.#inodes.isAlive(parent) && this.#nameIn(parent, at)
      if (!name) return undefined
      names.unshift(name)
      at = parent
    }
    return undefined
  }

  #nameIn(parent: InodeNumber, inode: InodeNumber): Uint8Array | undefined {
    const entries = this.#directories.peek(this.#inodes.digest(parent))?.directory.entries
    if (this.getattr(inode).kind === 'directory') return entries?.[this.#inodes.position(inode)]?.name
    const digest = this.#inodes.digest(inode)
    return entries?.find(({ node }) => node.kind === 'file' && node.digest.equals(digest))?.name
  }

  /** The basename of the store path that an inode is below; a file may be below several, and this is the first. */
  #storePathOf(inode: InodeNumber): string | undefined {
    let at = inode
    for (let depth = 0; depth < TREE_DEPTH_MAX && this.#inodes.isAlive(at) && at !== ROOT_INODE; depth++) {
      const name = this.#names.nameOf(at)
      if (name) return printable(name)
      at = this.#inodes.parent(at)
    }
    return undefined
  }
}

/** A directory whose entries are listed. */
interface Parent {
  readonly ino: bigint
  intern(name: Uint8Array, node: Node, position: number): InodeNumber
}

function tooLarge(digest: string, size: bigint): StoreError {
  return new StoreError(
    'exhausted',
    `blob ${digest}: ${size} bytes are recorded for it, more than can be read`,
  )
}
