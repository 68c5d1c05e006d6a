import { join } from 'node:path'
import { CHUNKS_PREFIX } from '../blobs/object-keys.ts'
import { parseAddress } from './address.ts'
import type { StoreAddresses } from './stores.ts'

/**
 * The folder of the local disk in which blobs are kept as chunks (spec §3.3), if they are kept in one and nothing
 * stands above it.
 */
export function localChunkFolder({ blobs, composition }: StoreAddresses): string | undefined {
  if (composition !== undefined) return undefined
  const address = parseAddress('blobs', blobs)
  return address.kind === 'object-file' ? join(address.path, CHUNKS_PREFIX) : undefined
}
