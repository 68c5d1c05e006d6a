import { isUtf8 } from 'node:buffer'
import type { FileNode } from '../../../model/castore/node.ts'
import type { BlobService } from '../../../services/blobs/interface.ts'
import { view } from '../../../support/bytes.ts'
import type { Call } from '../../../support/call.ts'
import { StoreError } from '../../../support/errors.ts'
import { BLOB_BYTES_MAX } from '../../../support/limits.ts'
import { readBlobRange } from '../../../transfer/blob-range.ts'
import type { HttpReply } from '../exchange.ts'
import { encodeName } from './links.ts'

/**
 * The contents of a file, to be saved and never to be shown: whatever is in the store, a browser must not take it for
 * a page of ours.
 */
export function rawFileReply(blobs: BlobService, name: Uint8Array, node: FileNode, call: Call): HttpReply {
  if (node.size > BigInt(BLOB_BYTES_MAX))
    throw new StoreError('exhausted', `blob ${node.digest} is said to have ${node.size} bytes: too large`)
  const size = Number(node.size)
  return {
    status: 200,
    headers: {
      'content-disposition': contentDisposition(name),
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
    },
    content: {
      type: typeOf(name),
      size,
      tag: node.digest.hex,
      // The contents under an address change only if the path is removed and made anew.
      cacheControl: 'no-cache',
      hasRanges: true,
      read: ({ start, end } = { start: 0, end: size }) => readBlobRange(blobs, node, start, end, call),
    },
  }
}

/** Types that no browser runs; everything else, HTML and SVG too, is bytes. */
const TYPES: Readonly<Record<string, string>> = {
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

function typeOf(name: Uint8Array): string {
  const extension = /\.([a-z0-9]+)$/i.exec(view(name).toString('latin1'))?.[1]?.toLowerCase() ?? ''
  return Object.hasOwn(TYPES, extension) ? TYPES[extension]! : 'application/octet-stream'
}

/** RFC 6266: the name in the characters that every client takes, and exactly where it is UTF-8. */
function contentDisposition(name: Uint8Array): string {
  const latin1 = view(name).toString('latin1')
  const plain = latin1.replace(/[^A-Za-z0-9 ._+=@,-]/g, '_')
  const exact = isUtf8(name) ? `; filename*=UTF-8''${encodeName(name)}` : ''
  return `attachment; filename="${plain}"${exact}`
}
