import { blake3 } from '../model/castore/blake3.ts'
import { EMPTY_DIGEST } from '../model/castore/digest.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { StorePath } from '../model/nix/store-path.ts'
import { decodePathInfo, encodePathInfo } from '../model/wire/path-info.ts'
import type { Logger } from '../support/log.ts'

/**
 * Loads what the first look at a path needs: the hash of small messages, and code that V8 compiles when it is first called. To be done
 * before anybody is told that the mount is ready: else whoever looks at once waits for it.
 */
export function loadAhead(logger: Logger): void {
  try {
    blake3(new Uint8Array(1))
    decodePathInfo(encodePathInfo(SAMPLE))
  } catch (err) {
    logger.debug({ err }, 'loading ahead failed')
  }
}

const SAMPLE: PathInfo = {
  storePath: StorePath.fromParts(new Uint8Array(20), 'sample'),
  node: { kind: 'file', digest: EMPTY_DIGEST, size: 0n, executable: false },
  references: [],
  narSize: 1n,
  narSha256: new Uint8Array(32),
  signatures: [],
  deriver: undefined,
  ca: undefined,
}
