import { join } from 'node:path'
import { parseAddress } from './address.ts'

/** The folder of the local disk in which a blob service keeps its chunks (spec §3.3), if it keeps them in one. */
export function localChunkFolder(blobServiceAddress: string): string | undefined {
  const address = parseAddress('blobs', blobServiceAddress)
  return address.kind === 'object-file' ? join(address.path, 'chunks/b3') : undefined
}
