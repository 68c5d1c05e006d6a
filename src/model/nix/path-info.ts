import type { Node } from '../castore/node.ts'
import type { ContentAddress } from './content-address.ts'
import { isKeyName } from './named-key.ts'
import type { NarInfo } from './narinfo.ts'
import type { Signature } from './signature.ts'
import type { StorePath } from './store-path.ts'

/** What is known of one store path (spec §1.5): where its contents are in castore, and what its NAR is like. */
export interface PathInfo {
  readonly storePath: StorePath
  /** The root node. */
  readonly node: Node
  /** In the order in which they were given; a path may refer to itself. */
  readonly references: readonly StorePath[]
  /** Bytes; u64. */
  readonly narSize: bigint
  /** 32 bytes. */
  readonly narSha256: Uint8Array
  readonly signatures: readonly Signature[]
  /** Without its `.drv` suffix. */
  readonly deriver: StorePath | undefined
  readonly ca: ContentAddress | undefined
}

/** Where and how a binary cache offers the NAR of a path. */
export interface NarLocation {
  /** Relative to the cache, or absolute. */
  readonly url: string
  /** `undefined` for none. */
  readonly compression?: string | undefined
  /** SHA-256 of the NAR as it is transferred. */
  readonly fileHash?: Uint8Array | undefined
  /** Bytes of the NAR as it is transferred. */
  readonly fileSize?: bigint | undefined
}

/** What a binary cache tells of this path (spec §6.5). */
export function narInfoOf(pathInfo: PathInfo, location: NarLocation): NarInfo {
  return {
    storePath: pathInfo.storePath,
    url: location.url,
    compression: location.compression,
    fileHash: location.fileHash,
    fileSize: location.fileSize,
    narSha256: pathInfo.narSha256,
    narSize: pathInfo.narSize,
    references: pathInfo.references,
    deriver: pathInfo.deriver,
    system: undefined,
    // Path infos take any name (spec §1.10); one that no key has would make a document that nobody can read.
    signatures: pathInfo.signatures.filter(({ keyName }) => isKeyName(keyName)),
    ca: pathInfo.ca,
    flags: new Set(),
  }
}

/** The path info of a path that a binary cache told of, once its NAR was ingested as `node`. */
export function pathInfoOf(narInfo: NarInfo, node: Node): PathInfo {
  return {
    storePath: narInfo.storePath,
    node,
    references: narInfo.references,
    narSize: narInfo.narSize,
    narSha256: narInfo.narSha256,
    signatures: narInfo.signatures,
    deriver: narInfo.deriver,
    ca: narInfo.ca,
  }
}
