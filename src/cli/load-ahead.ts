import { stat } from 'node:fs'
import { blake3 } from '../model/castore/blake3.ts'
import { EMPTY_DIGEST } from '../model/castore/digest.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { STORE_PATH_DIGEST_BYTES, StorePath } from '../model/nix/store-path.ts'
import { decodePathInfo, encodePathInfo } from '../model/wire/path-info.ts'
import { nativeTree } from '../mount/tree/native-tree.ts'
import type { LocalChunkSource } from '../services/blobs/chunk-places.ts'
import type { ReadLocalDirectory, ReadLocalPathInfo } from '../services/composition/stores.ts'
import type { RootNodes } from '../services/pathinfos/root-nodes.ts'
import { utf8 } from '../support/bytes.ts'
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

/** Where a mount finds what is on this machine, without waiting. */
interface LocalStores {
  readonly localPathInfo: ReadLocalPathInfo
  readonly localDirectory: ReadLocalDirectory
}

/**
 * Asks each of them once for what is not there: the first question to a database makes its transaction, and the addon for directories is
 * loaded with the first of those, half a millisecond in all. To be done when whoever waits was told that the mount is ready, and
 * needs longer than that to look at it. Names and references of store paths are parsed by code that runs for the first time, too.
 */
export function touchStores(
  { localPathInfo, localDirectory }: LocalStores,
  rootNodes: Pick<RootNodes, 'canExist'>,
  localChunks: LocalChunkSource | undefined,
): void {
  nativeTree()
  localPathInfo(new Uint8Array(STORE_PATH_DIGEST_BYTES))
  localDirectory(EMPTY_DIGEST)
  if (localChunks?.kind === 'packs')
    localChunks.places.find(EMPTY_DIGEST.bytes, { pack: 0, offset: 0, stored: 0 })
  rootNodes.canExist(utf8(SAMPLE.storePath.toString()))
  decodePathInfo(encodePathInfo({ ...SAMPLE, references: [SAMPLE.storePath] }))
}

/**
 * The kernel asks for the attributes of the root when somebody first goes through it, and keeps them: a question less for whoever comes
 * first. `target`: as it is in the table of mounts. A thread waits for the answer, which this process gives; it ends with the mount.
 */
export function touchRoot(target: string): void {
  stat(target, () => {})
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
