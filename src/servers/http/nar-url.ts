import { decodeAnonymousNode, encodeNodeMessage } from '../../model/castore/directory-codec.ts'
import type { Node } from '../../model/castore/node.ts'
import { ValidationError } from '../../model/castore/validation-error.ts'
import { view } from '../../support/bytes.ts'
import { BLOB_BYTES_MAX, HTTP_ROOT_NODE_BYTES_MAX } from '../../support/limits.ts'
import { Refusal } from './fault-reply.ts'

const NAMELESS = new Uint8Array(0)

/** Where the NAR of a node is, relative to the cache (spec §7.4). */
export function narUrl(node: Node, narSize: bigint): string {
  return `nar/tvix-castore/${encodeNode(node)}?narsize=${narSize}`
}

export function encodeNode(node: Node): string {
  return view(encodeNodeMessage(NAMELESS, node)).toString('base64url')
}

/** The inverse; throws a Refusal with the status that spec §7.2 has for each way to be wrong, in its order. */
export function parseNarUrl(encoded: string, query: URLSearchParams): { node: Node; narSize: number } {
  const narSize = parseNarSize(query.get('narsize'))
  const bytes = Buffer.from(encoded, 'base64url')
  if (bytes.toString('base64url') !== encoded) throw new Refusal(404, 'the root node is not base64url')
  if (bytes.length > HTTP_ROOT_NODE_BYTES_MAX)
    throw new Refusal(400, `the root node has more than ${HTTP_ROOT_NODE_BYTES_MAX} bytes`)
  try {
    return { node: decodeAnonymousNode(bytes), narSize }
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    throw new Refusal(error.variant === 'Malformed' ? 404 : 400, `the root node: ${error.message}`)
  }
}

function parseNarSize(text: string | null): number {
  if (text === null || !/^[0-9]{1,20}$/.test(text))
    throw new Refusal(400, 'narsize is missing, or no number of bytes')
  const size = Number(text)
  if (size > BLOB_BYTES_MAX) throw new Refusal(400, `narsize is more than ${BLOB_BYTES_MAX}`)
  return size
}
