import { open } from 'node:fs/promises'
import { StoreError, systemCode } from '../../support/errors.ts'
import { COMPOSITION_FILE_BYTES_MAX } from '../../support/limits.ts'
import {
  type Graph,
  graphOfAddresses,
  graphOfFile,
  type Origins,
  withCacheFolder,
  withSignatures,
} from './graph.ts'
import type { StoreAddresses } from './stores.ts'

/** The graph that three addresses, or the composition file in their place, stand for. Nothing is opened. */
export async function readGraph(addresses: StoreAddresses, origins?: Origins): Promise<Graph> {
  const { composition, cache, requiredSignatures } = addresses
  let graph =
    composition === undefined
      ? graphOfAddresses(addresses, origins)
      : graphOfFile(composition, await readText(composition))
  if (cache) graph = withCacheFolder(graph, cache, { from: 'flag', name: '--cache-dir' })
  if (requiredSignatures)
    graph = withSignatures(graph, requiredSignatures, { from: 'flag', name: '--require-signatures' })
  return graph
}

async function readText(path: string): Promise<string> {
  try {
    await using file = await open(path)
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(COMPOSITION_FILE_BYTES_MAX + 1) })
    if (bytesRead <= COMPOSITION_FILE_BYTES_MAX) return buffer.toString('utf8', 0, bytesRead)
  } catch (error) {
    const kind = systemCode(error) === 'ENOENT' ? 'not-found' : 'unavailable'
    const message = `cannot read the composition file ${path}: ${(error as Error).message}`
    throw new StoreError(kind, message, { cause: error })
  }
  throw new StoreError(
    'exhausted',
    `${path}: a composition file has at most ${COMPOSITION_FILE_BYTES_MAX} bytes`,
  )
}
