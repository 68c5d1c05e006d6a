import type { Digest } from '../../model/castore/digest.ts'
import type { SizeFormula } from '../../model/castore/directory.ts'
import type { Node } from '../../model/castore/node.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import type { Call } from '../../support/call.ts'
import type { StoreError } from '../../support/errors.ts'
import type { Logger } from '../../support/log.ts'
import type { LocalChunkSource } from '../blobs/chunk-places.ts'
import type { BlobService } from '../blobs/interface.ts'
import type { LocalFile } from '../blobs/verified-file.ts'
import type { DirectoryService } from '../directories/interface.ts'
import type {
  CopyCastoreOptions,
  IngestedNar,
  IngestNarOptions,
  LocalPathInfoService,
  NarCalculation,
  PathInfoService,
} from '../pathinfos/interface.ts'
import type { SourceStats } from '../source-set.ts'
import type { Role } from './address.ts'
import type { LayerMetrics } from './layer-metrics.ts'

export interface StoreAddresses {
  readonly blobs: string
  readonly directories: string
  readonly pathInfos: string
  /** A folder in which blobs are kept that are read, in front of the others. */
  readonly cache?: BlobCacheFolder | undefined
  /** Public keys, `name:base64`: paths that none of them signed are refused. */
  readonly requiredSignatures?: readonly string[] | undefined
  /** A composition file (spec §3.8) that says all three instead. */
  readonly composition?: string | undefined
}

export interface BlobCacheFolder {
  readonly path: string
  /** Bytes; the default if `undefined`. */
  readonly size?: number | undefined
}

/** Whole blobs that are verified files of this machine; `undefined` for those that are not, now. */
export type OpenLocalFile = (digest: Digest, call?: Call) => Promise<LocalFile | undefined>

/**
 * What becomes of NARs that come from a binary cache, and of the contents of paths (transfer/ingest-nar.ts,
 * transfer/check-path-info.ts, transfer/copy-castore.ts).
 */
export interface NarTransfer {
  ingestNar(stores: Castore, nar: AsyncIterable<Uint8Array>, options: IngestNarOptions): Promise<IngestedNar>
  checkPathInfo(stores: Castore, claim: PathInfo, ingested: IngestedNar, call: Call): Promise<void>
  /** Throws `corrupt` when the contents of a path do not have its content address. */
  proveContentAddress(stores: Castore, pathInfo: PathInfo, call: Call): Promise<void>
  copyCastore(from: Castore, to: Castore, node: Node, options: CopyCastoreOptions): Promise<IngestedNar>
}

/** What near has and far does not have yet. */
export interface Uploads {
  readonly waiting: number
  /** What far refused and may take later. */
  readonly refused: number
  /** Why far refused the first of what was to be sent since the stores were opened; trying again what was refused does not count. */
  readonly refusal: StoreError | undefined
  /** Resolves when nothing waits any more; rejects when the call is aborted. */
  drained(call?: Call): Promise<void>
}

export interface Castore {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

/** The encoding of a directory, not verified, without waiting; `undefined`: the service has an answer, or an error. */
export type ReadLocalDirectory = (digest: Digest) => Uint8Array | undefined

/** As `get` of path infos, without waiting; `undefined`: the service has an answer, or an error. */
export type ReadLocalPathInfo = LocalPathInfoService['readNow']

/** The three services. Disposing of them closes files and connections; let calls end first. */
export interface Stores extends AsyncDisposable {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
  /** The peer's, when path infos come from one; otherwise NARs are rendered here. */
  readonly narCalculation?: NarCalculation
  /** What sizes of directories the peer takes, when directories go to one. */
  readonly askSizeFormula?: (call?: Call) => Promise<SizeFormula>
  /** Of the blob cache, or of a store of raw files. */
  readonly openLocalFile?: OpenLocalFile
  /** Of the blobs, when they are on this machine and nothing stands above them: a cache would not see what is read. */
  readonly localChunks?: LocalChunkSource
  /** Of the database of directories, when that is on this machine and nothing stands above it. */
  readonly localDirectory?: ReadLocalDirectory
  /** Likewise of the path infos. */
  readonly localPathInfo?: ReadLocalPathInfo
  /** What is written behind, where something is. */
  readonly uploads?: Uploads
  /** What the layers over several sources survived so far. */
  readonly sources: () => SourceStats
  /** The addresses, for messages, without secrets. */
  readonly describe: string
  /** … and for messages about one of the three. */
  readonly labels: Readonly<Record<Role, string>>
}

/** What the services need that the rooms above them have. */
export interface StoreSettings {
  /** Needed for addresses of binary caches, whose NARs become blobs and directories of the other two addresses. */
  readonly nars?: NarTransfer
  /** Where services tell of what takes long, and of what they survive; says nothing unless given. */
  readonly logger?: Logger
  /** What is left to be written behind by an earlier process stays where it is until something is written. */
  readonly isForReading?: boolean
  /** Counts the calls of each layer. */
  readonly metrics?: LayerMetrics | undefined
}
