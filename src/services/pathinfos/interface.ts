import type { Node } from '../../model/castore/node.ts'
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

/** Tells the size and hash of the NAR that a node renders to. */
export interface NarCalculation {
  calculateNar(node: Node, call?: Call): Promise<NarDigest>
}

export interface NarDigest {
  readonly narSize: bigint
  /** 32 bytes. */
  readonly narSha256: Uint8Array
}
