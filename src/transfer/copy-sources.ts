import { join } from 'node:path'
import type { SizeFormula } from '../model/castore/directory.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import type { PathMetadata } from '../model/nix/reference-graph.ts'
import { STORE_DIR } from '../model/nix/store-path.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import type { CopyJob } from './copy-paths.ts'
import type { Castore, TreeCopier } from './copy-tree.ts'
import { ingestTree } from './ingest-tree.ts'

/** Contents come from another castore. */
export function castoreJob(copier: TreeCopier, { node, ...metadata }: PathInfo): CopyJob {
  return {
    ...metadata,
    bring: async (options) => ({ node, ...(await copier.copy(node, options)) }),
  }
}

/** Contents are read from the Nix store of the file system below `root`, `/` for that of this machine. */
export function localNixJob(
  to: Castore,
  path: PathMetadata,
  {
    root,
    ...settings
  }: {
    readonly root: string
    readonly sizeFormula: SizeFormula
    readonly progress?: IngestProgress | undefined
  },
): CopyJob {
  const folder = join(root, STORE_DIR, path.storePath.toString())
  return {
    ...path,
    bring: async ({ signal }) => ({
      node: await ingestTree(to, folder, { ...settings, signal }),
      assumed: false,
    }),
  }
}
