import type { SizeFormula } from '../../model/castore/directory.ts'
import type { Node } from '../../model/castore/node.ts'
import type { ContentAddress } from '../../model/nix/content-address.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import type { Call } from '../../support/call.ts'

/** Path infos under the 20 bytes that their store path begins with (spec §1.6). */
export interface PathInfoService {
  /** `outputHash`: 20 bytes. `undefined` when there is no such path, and every source said so. */
  get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined>

  /** Stores it and returns what was stored, which may carry more signatures. */
  put(pathInfo: PathInfo, call?: Call): Promise<PathInfo>

  /** All of them, in no particular order, without collecting them first. */
  list(call?: Call): AsyncIterable<PathInfo>
}

/** In a database of this machine. */
export interface LocalPathInfoService extends PathInfoService {
  /** As `get`, without waiting. `undefined`: `get` has an answer, or an error. */
  readNow(outputHash: Uint8Array): PathInfo | undefined
}

/** Tells the size and hash of the NAR that a node renders to. */
export interface NarCalculation {
  calculateNar(node: Node, call?: Call): Promise<NarDigest>
}

export interface NarDigest {
  readonly narSize: bigint
  /** 32 bytes. */
  readonly narSha256: Uint8Array
}

/** What became of a NAR whose blobs and directories are stored now. */
export interface IngestedNar extends NarDigest {
  readonly node: Node
  /** By the algorithm of the content address that was asked for; absent without one, or if the NAR cannot have one. */
  readonly contentDigest?: Uint8Array | undefined
}

/**
 * Stores the contents of a NAR. Throws `invalid-argument` for bytes that are no NAR, the source's own error when the
 * source fails, and otherwise what storing throws.
 */
export type IngestNar = (nar: AsyncIterable<Uint8Array>, options?: IngestNarOptions) => Promise<IngestedNar>

export interface IngestNarOptions extends Call {
  /** How sub-directory sizes are written (DESIGN §3.4). */
  readonly sizeFormula?: SizeFormula | undefined
  readonly progress?: IngestProgress | undefined
  /** What the path claims to be addressed by; its digest is computed on the way. */
  readonly contentAddress?: ContentAddress | undefined
}

export interface IngestProgress {
  /** Bytes of the source (a file, a NAR) were read. */
  read(bytes: number): void
  /** A file's contents are stored. */
  file(): void
}

/** For who copies the tree that a NAR is made of, in the place of the NAR. */
export interface CopyCastoreOptions extends Call {
  /** Of the NAR that the tree is said to be; more than that is not copied. */
  readonly narSize: bigint
  readonly progress?: Pick<IngestProgress, 'read'> | undefined
}
