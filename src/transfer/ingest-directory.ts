import type { DirectoryNode, Node } from '../model/castore/node.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { StoreError } from '../support/errors.ts'
import { ImportCache } from './import-cache.ts'
import type { ImportOptions } from './import-path.ts'
import { ingestTree } from './ingest-tree.ts'

/**
 * Stores the directory at `path`, contents only: no NAR, no path info. What is remembered of its files serves `import` as
 * well. Throws as `ingestTree` does, and `invalid-argument` for what is no directory.
 */
export async function ingestDirectory(
  services: { readonly blobs: BlobService; readonly directories: DirectoryService },
  path: string,
  options: ImportOptions,
): Promise<DirectoryNode> {
  const { cacheFolder, logger } = options
  const cache = cacheFolder === undefined ? undefined : await ImportCache.load(cacheFolder, path, logger)
  const node = directoryNode(await ingestTree(services, path, { ...options, cache }), path)
  await cache?.save(node, undefined)
  return node
}

function directoryNode(node: Node, path: string): DirectoryNode {
  if (node.kind === 'directory') return node
  throw new StoreError('invalid-argument', `the root has to be a directory; ${path} is a ${node.kind}`)
}
