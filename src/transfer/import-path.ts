import type { SizeFormula } from '../model/castore/directory.ts'
import type { Node } from '../model/castore/node.ts'
import type { ContentAddress } from '../model/nix/content-address.ts'
import { importName } from '../model/nix/import-name.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { narStorePath } from '../model/nix/store-path-calculation.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type {
  IngestProgress,
  NarCalculation,
  NarDigest,
  PathInfoService,
} from '../services/pathinfos/interface.ts'
import { utf8 } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import type { Logger } from '../support/log.ts'
import { ImportCache } from './import-cache.ts'
import { type IngestOptions, ingestTree } from './ingest-tree.ts'
import { SourceNar } from './source-nar.ts'

export interface ImportServices {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
  /** Of the peer that the path info goes to, if there is one: it answers for what it has. */
  readonly narCalculation?: NarCalculation | undefined
}

export interface ImportOptions extends Call {
  readonly sizeFormula: SizeFormula
  readonly progress?: IngestProgress | undefined
  /** A folder in which to remember the files of this tree for its next import. */
  readonly cacheFolder?: string | undefined
  readonly logger?: Logger | undefined
}

/**
 * Puts the tree at `path` into the store under the very path that `nix-store --add` gives it (spec §4.1): the
 * name is the last component, the hash that of its NAR. The path info is written last, when everything it
 * stands for is stored. A name that no store path can have fails before anything is read.
 */
export async function importPath(
  services: ImportServices,
  path: string,
  options: ImportOptions,
): Promise<PathInfo> {
  const name = importName(utf8(path))
  const { cacheFolder, logger } = options
  const cache = cacheFolder === undefined ? undefined : await ImportCache.load(cacheFolder, path, logger)
  const { node, nar } = await ingest(services, path, { ...options, cache })
  const { narSize, narSha256 } = nar
  const ca: ContentAddress = { kind: 'nar', algorithm: 'sha256', digest: narSha256 }
  const pathInfo: PathInfo = {
    storePath: narStorePath(name, narSha256),
    node,
    references: [],
    narSize,
    narSha256,
    signatures: [],
    deriver: undefined,
    ca,
  }
  const stored = await services.pathInfos.put(pathInfo, options)
  await cache?.save(node, nar)
  return stored
}

/** Stores the tree and tells its NAR, which is hashed on the way unless somebody else has to. */
async function ingest(
  services: ImportServices,
  path: string,
  options: IngestOptions,
): Promise<{ readonly node: Node; readonly nar: NarDigest }> {
  const { narCalculation } = services
  if (narCalculation) {
    const node = await ingestTree(services, path, options)
    return { node, nar: await narCalculation.calculateNar(node, options) }
  }
  const sourceNar = new SourceNar(utf8(path))
  const node = await ingestTree(services, path, { ...options, nar: sourceNar })
  return { node, nar: await sourceNar.finish(options.cache?.narOf(node)) }
}
