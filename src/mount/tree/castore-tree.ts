import type { Digest } from '../../model/castore/digest.ts'
import type { BlobService } from '../../services/blobs/interface.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import type { RootNodes } from '../../services/pathinfos/root-nodes.ts'
import type { Call } from '../../support/call.ts'
import { monotonicMs } from '../../support/clock.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { MOUNT_NEGATIVE_MS } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { AccessRecorder } from './access-recorder.ts'
import { DirectoryEntries } from './directory-entries.ts'
import { DirectoryLoader } from './directory-loader.ts'
import { type SourceNames, UNNAMED_SOURCES } from './failures.ts'
import { FetchFiller } from './fetch-filler.ts'
import { FileReader, type LocalChunkReads } from './file-reader.ts'
import { FILL_FROM_AFAR, FILL_FROM_DISK, FillAhead } from './fill-ahead.ts'
import { InodePaths } from './inode-paths.ts'
import { InodeReads } from './inode-reads.ts'
import { InodeTable, ROOT_INODE } from './inode-table.ts'
import {
  type Attributes,
  type EntrySink,
  type InodeNumber,
  type ListedAhead,
  type ListingPreparer,
  type Missing,
  type PageFiller,
  type RawFile,
  type Soon,
  type Statfs,
  type Tree,
  type TreeEntry,
  TreeFault,
} from './interface.ts'
import type { PlannedReads } from './planned-reads.ts'
import type { ProfileEntry } from './profile.ts'
import { ProfilePrefetch } from './profile-prefetch.ts'
import type { ReadPlan } from './read-plan.ts'
import { RootDirectory } from './root-directory.ts'
import { RootListing } from './root-listing.ts'
import { RootNames } from './root-names.ts'
import { RootWatch } from './root-watch.ts'
import { SiblingsAhead } from './siblings-ahead.ts'
import { createMountStats, type MountStats } from './stats.ts'
import { SubtreeAhead } from './subtree-ahead.ts'
import { DEFAULT_LIMITS, type TreeLimits } from './tree-limits.ts'
import { type XattrKind, xattrNames, xattrValue } from './xattrs.ts'

export interface CastoreTreeOptions {
  readonly rootNodes: RootNodes
  /** What they give is verified already. */
  readonly blobs: Pick<BlobService, 'chunks' | 'openRead'>
  readonly directories: Pick<DirectoryService, 'get' | 'getRecursive'>
  /** What a database of this machine has under a digest, on the spot: the encoding of a directory, not verified. */
  readonly localDirectory?: ((digest: Digest) => Uint8Array | undefined) | undefined
  /** Chunks that lie on this machine, where nothing stands above them. */
  readonly localChunks?: LocalChunkReads | undefined
  /** … and a way to read many of them at once. */
  readonly plannedReads?: PlannedReads | undefined
  /** Blobs that lie on this machine as they are. */
  readonly openLocalFile?:
    | ((
        digest: Digest,
        call?: Call,
      ) => Promise<(RawFile & { readonly size: number; readonly wasRead: boolean }) | undefined>)
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

class LazyTree implements CastoreTree {
  readonly stats = createMountStats()
  readonly #inodes = new InodeTable()
  readonly #names = new RootNames(this.#inodes)
  readonly #closing = new AbortController()
  readonly #directories: DirectoryLoader
  readonly #subtrees: SubtreeAhead
  readonly #files: FileReader
  readonly #root: RootDirectory
  readonly #rootListing: RootListing | undefined
  readonly #rootWatch: RootWatch
  readonly #entries: DirectoryEntries
  readonly #reads: InodeReads
  readonly #prefetch: ProfilePrefetch | undefined
  readonly #openLocalFile: CastoreTreeOptions['openLocalFile']
  readonly #logger: Logger
  #rootChanged: (name: Uint8Array) => void = () => {}
  #fillAhead: FillAhead

  constructor(options: CastoreTreeOptions) {
    const { rootNodes, blobs, directories, logger, recorder, sources = UNNAMED_SOURCES } = options
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    const now = options.now ?? monotonicMs
    const { stats } = this
    const inodes = this.#inodes
    const names = this.#names
    const slots = new Semaphore(limits.fetchesMax)
    const background = { logger, closing: this.#closing.signal }
    this.#logger = logger
    this.#openLocalFile = options.openLocalFile
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
      ...background,
    })
    this.#files = new FileReader({
      ...limits,
      blobs,
      localChunks: options.localChunks,
      source: sources.blobs,
      slots,
      stats,
      now,
      ...background,
    })
    this.#fillAhead = new FillAhead(new FetchFiller(this.#files, logger, background.closing), FILL_FROM_AFAR)
    if (options.listRoot)
      this.#rootListing = new RootListing({
        rootNodes,
        source: sources.pathInfos,
        freshMs: options.negativeMs ?? MOUNT_NEGATIVE_MS,
        namesMax: limits.rootNamesMax,
        stats: stats.rootListings,
        now,
        closing: background.closing,
      })
    this.#root = new RootDirectory({
      rootNodes,
      source: sources.pathInfos,
      inodes,
      names,
      slots,
      stats: stats.rootLookups,
      listing: this.#rootListing,
      onFound: (basename, node) => {
        if (this.#prefetch) this.#inBackground(this.#prefetch.found(basename, node))
        if (node.kind === 'directory') this.#subtrees.entered(node.digest)
      },
    })
    this.#rootWatch = new RootWatch({
      rootNodes,
      names,
      inodes,
      gone: (name) => this.#rootChanged(name),
      ...background,
    })
    const shared = {
      inodes,
      paths: new InodePaths(inodes, names, this.#directories),
      directories: this.#directories,
      fillAhead: () => this.#fillAhead,
      recorder,
      plannedReads: options.plannedReads,
    }
    this.#entries = new DirectoryEntries({ ...shared, subtrees: this.#subtrees, now })
    const siblings = new SiblingsAhead(this.#files, logger, background.closing)
    this.#reads = new InodeReads({ ...shared, files: this.#files, siblings })
    if (!options.profile) return
    this.#prefetch = new ProfilePrefetch({
      profile: options.profile,
      rootNodes,
      directories: this.#directories,
      files: this.#files,
      enter: (storePath) => this.#subtrees.all(storePath),
      bytesMax: limits.profileBytesMax,
      ...background,
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
    this.#rootListing?.refreshNext()
    return this.#rootWatch.checkNow()
  }

  fillAhead(filler: PageFiller): void {
    this.#fillAhead = new FillAhead(filler, FILL_FROM_DISK)
  }

  listAhead(preparer: ListingPreparer): ListedAhead {
    return this.#entries.listAhead(preparer)
  }

  answered(): boolean {
    if (this.#entries.answered()) return true
    this.#fillAhead.push()
    return false
  }

  close(): void {
    this.#closing.abort(new StoreError('cancelled', 'unmounted'))
  }

  lookup(parent: InodeNumber, name: Uint8Array, call?: Call): Soon<TreeEntry | Missing> {
    return parent === ROOT_INODE ? this.#root.lookup(name, call) : this.#entries.lookup(parent, name, call)
  }

  forget(inode: InodeNumber, references: number): void {
    if (!this.#inodes.forget(inode, references)) return
    this.#names.release(inode)
    this.#reads.forget(inode)
  }

  getattr(inode: InodeNumber): Attributes {
    return this.#inodes.attributes(inode)
  }

  readlink(inode: InodeNumber): Uint8Array {
    if (this.getattr(inode).kind !== 'symlink') throw new TreeFault('EINVAL')
    return this.#inodes.target(inode)
  }

  readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean, call?: Call): Soon<void> {
    return inode === ROOT_INODE
      ? this.#root.readdir(cookie, sink, remember, call)
      : this.#entries.readdir(inode, cookie, sink, remember, call)
  }

  read(inode: InodeNumber, offset: number, size: number, call?: Call): Soon<readonly Uint8Array[]> {
    return this.#reads.read(inode, offset, size, call)
  }

  planRead(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean {
    return this.#reads.plan(inode, offset, size, plan)
  }

  planAhead(inode: InodeNumber, offset: number, size: number, plan: ReadPlan): boolean {
    return this.#reads.planAhead(inode, offset, size, plan)
  }

  listChunks(inode: InodeNumber, call: Call): Promise<void> | undefined {
    return this.#reads.listChunks(inode, call)
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
    const file = await this.#countedLocalFile(this.#inodes.digest(inode), call)
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

  async #countedLocalFile(digest: Digest, call: Call | undefined) {
    const { localFiles } = this.stats
    localFiles.asked++
    try {
      const file = await this.#openLocalFile?.(digest, call)
      if (file?.wasRead) {
        localFiles.fetched++
        localFiles.fetchedBytes += file.size
      } else if (file) {
        localFiles.cached++
        localFiles.cachedBytes += file.size
      }
      return file
    } catch (error) {
      localFiles.failed++
      throw error
    }
  }

  #xattrKind(inode: InodeNumber): XattrKind | undefined {
    const { kind } = this.getattr(inode)
    return inode === ROOT_INODE || kind === 'symlink' ? undefined : kind
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error) => this.#logger.warn({ err: error }, 'fetching ahead failed'))
  }
}
