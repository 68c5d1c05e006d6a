import { isUtf8 } from 'node:buffer'
import type { FileNode } from '../../../model/castore/node.ts'
import type { BlobService } from '../../../services/blobs/interface.ts'
import { view } from '../../../support/bytes.ts'
import type { Call } from '../../../support/call.ts'
import type { HttpReply } from '../exchange.ts'
import { fileContent, INERT_TYPES, typeOf } from '../file-content.ts'
import { encodeName } from './links.ts'

/**
 * The contents of a file, to be saved and never to be shown: whatever is in the store, a browser must not take it for
 * a page of ours.
 */
export function rawFileReply(blobs: BlobService, name: Uint8Array, node: FileNode, call: Call): HttpReply {
  return {
    status: 200,
    headers: {
      'content-disposition': contentDisposition(name),
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
    },
    // HTML and SVG, too, are bytes.
    content: fileContent(blobs, node, typeOf(name, INERT_TYPES), call),
  }
}

/** RFC 6266: the name in the characters that every client takes, and exactly where it is UTF-8. */
function contentDisposition(name: Uint8Array): string {
  const latin1 = view(name).toString('latin1')
  const plain = latin1.replace(/[^A-Za-z0-9 ._+=@,-]/g, '_')
  const exact = isUtf8(name) ? `; filename*=UTF-8''${encodeName(name)}` : ''
  return `attachment; filename="${plain}"${exact}`
}
