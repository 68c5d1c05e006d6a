import type { FileNode } from '../../model/castore/node.ts'
import type { BlobService } from '../../services/blobs/interface.ts'
import { view } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { BLOB_BYTES_MAX } from '../../support/limits.ts'
import { readBlobRange } from '../../transfer/blob-range.ts'
import type { Content } from './exchange.ts'

/** The contents of a file, with ranges. `call`: for as long as somebody reads. */
export function fileContent(blobs: BlobService, node: FileNode, type: string, call: Call): Content {
  if (node.size > BigInt(BLOB_BYTES_MAX))
    throw new StoreError('exhausted', `blob ${node.digest} is said to have ${node.size} bytes: too large`)
  const size = Number(node.size)
  return {
    type,
    size,
    tag: node.digest.hex,
    // What is at an address may become something else.
    cacheControl: 'no-cache',
    hasRanges: true,
    read: ({ start, end } = { start: 0, end: size }) => readBlobRange(blobs, node, start, end, call),
  }
}

/** Types by the last letters of a name. */
export type FileTypes = Readonly<Record<string, string>>

/** Those that no browser runs. */
export const INERT_TYPES: FileTypes = {
  txt: 'text/plain; charset=utf-8',
  md: 'text/plain; charset=utf-8',
  log: 'text/plain; charset=utf-8',
  json: 'application/json',
  pdf: 'application/pdf',
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  gz: 'application/gzip',
  xz: 'application/x-xz',
  bz2: 'application/x-bzip2',
  zst: 'application/zstd',
  tar: 'application/x-tar',
  zip: 'application/zip',
}

export function typeOf(name: Uint8Array, types: FileTypes): string {
  const extension = /\.([a-z0-9]+)$/i.exec(view(name).toString('latin1'))?.[1]?.toLowerCase() ?? ''
  return Object.hasOwn(types, extension) ? types[extension]! : 'application/octet-stream'
}
