import type { SizeFormula } from '../model/castore/directory.ts'
import type { ContentAddress } from '../model/nix/content-address.ts'
import { importName } from '../model/nix/import-name.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { narStorePath } from '../model/nix/store-path-calculation.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { IngestProgress, NarCalculation, PathInfoService } from '../services/pathinfos/interface.ts'
import { utf8 } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import { ingestTree } from './ingest-tree.ts'

export interface ImportServices {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
  readonly narCalculation: NarCalculation
}

/**
 * Puts the tree at `path` into the store under the very path that `nix-store --add` gives it (spec §4.1): the
 * name is the last component, the hash that of its NAR. The path info is written last, when everything it
 * stands for is stored. A name that no store path can have fails before anything is read.
 */
export async function importPath(
  services: ImportServices,
  path: string,
  options: Call & { readonly sizeFormula: SizeFormula; readonly progress?: IngestProgress | undefined },
): Promise<PathInfo> {
  const name = importName(utf8(path))
  const node = await ingestTree(services, path, options)
  const { narSize, narSha256 } = await services.narCalculation.calculateNar(node, options)
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
  return await services.pathInfos.put(pathInfo, options)
}
