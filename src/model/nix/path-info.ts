import type { Node } from '../castore/node.ts'
import type { ContentAddress } from './content-address.ts'
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
