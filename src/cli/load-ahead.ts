import { blake3 } from '../model/castore/blake3.ts'
import { EMPTY_DIGEST } from '../model/castore/digest.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { StorePath } from '../model/nix/store-path.ts'
import type { Logger } from '../support/log.ts'

/**
 * Loads what the first look at a path needs: generated code, which puts itself together when it is first used, and the hash of small
 * messages. To be awaited before anybody is told that the mount is ready: else whoever looks at once waits for it.
 */
export async function loadAhead(logger: Logger): Promise<void> {
  await load().catch((err: unknown) => logger.debug({ err }, 'loading ahead failed'))
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

async function load(): Promise<void> {
  blake3(new Uint8Array(1))
  const { decodePathInfo, encodePathInfo } = await import('../model/wire/path-info.ts')
  await import('../services/pathinfos/stored.ts')
  decodePathInfo(encodePathInfo(SAMPLE))
}
