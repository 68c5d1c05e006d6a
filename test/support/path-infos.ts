import { createHash } from 'node:crypto'
import { Digest } from '../../src/model/castore/digest.ts'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { utf8 } from '../../src/support/bytes.ts'

/** The path info of a file, like no other with another label. */
export function makePathInfo(label: string, changes: Partial<PathInfo> = {}): PathInfo {
  const digest = createHash('sha256').update(label).digest()
  return {
    storePath: StorePath.fromParts(digest.subarray(0, 20), `path-${label}`),
    node: { kind: 'file', digest: Digest.of(utf8(label)), size: BigInt(label.length), executable: false },
    references: [],
    narSize: 136n,
    narSha256: digest,
    signatures: [],
    deriver: undefined,
    ca: undefined,
    ...changes,
  }
}
