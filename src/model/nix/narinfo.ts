import type { ContentAddress } from './content-address.ts'
import type { Signature } from './signature.ts'
import type { StorePath } from './store-path.ts'

/**
 * What a narinfo document says in an unusual way (spec §6.5): kept so that it is rendered as it was read, since
 * clients compare documents byte by byte.
 */
export type NarInfoFlag =
  | 'unknown-field'
  /** No `Compression` line, which means bzip2. */
  | 'compression-default'
  /** `NarHash` in hex instead of nixbase32. */
  | 'nar-hash-hex'
  | 'references-out-of-order'
  /** No `References` line, which means none. */
  | 'references-missing'
  /** `Deriver: unknown-deriver`, which means none. */
  | 'explicit-unknown-deriver'

/** What a binary cache tells of one store path (spec §6.5). */
export interface NarInfo {
  readonly storePath: StorePath
  /** Of the NAR, relative to the cache or absolute; as untrusted as the rest. */
  readonly url: string
  /** As the document names it; `undefined` for `none`. */
  readonly compression: string | undefined
  /** SHA-256 of the compressed NAR. */
  readonly fileHash: Uint8Array | undefined
  /** Bytes of the compressed NAR; u64. */
  readonly fileSize: bigint | undefined
  /** 32 bytes. */
  readonly narSha256: Uint8Array
  /** Bytes; u64. */
  readonly narSize: bigint
  /** In the order of the document. */
  readonly references: readonly StorePath[]
  /** Without its `.drv` suffix. */
  readonly deriver: StorePath | undefined
  readonly system: string | undefined
  readonly signatures: readonly Signature[]
  readonly ca: ContentAddress | undefined
  readonly flags: ReadonlySet<NarInfoFlag>
}

export const DERIVER_SUFFIX = '.drv'
/** What Nix writes for a path whose deriver is not known. */
export const UNKNOWN_DERIVER = 'unknown-deriver'
/** How a document names the absence of compression. */
export const NO_COMPRESSION = 'none'
