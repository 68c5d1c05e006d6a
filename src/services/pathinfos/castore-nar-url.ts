import { decodeAnonymousNode } from '../../model/castore/directory-codec.ts'
import type { Node } from '../../model/castore/node.ts'
import { ValidationError } from '../../model/castore/validation-error.ts'

const CASTORE_NAR =
  /^nar\/(?:snix|tvix)-castore\/([A-Za-z0-9_-]+)\?(?:[^#]*&)?narsize=([0-9]{1,20})(?:&[^#]*)?$/

/**
 * The root node that the URL of a NAR spells out where the cache is a nar-bridge (spec §7.2), relative to the cache as
 * bridges give it; `undefined` for any other URL.
 */
export function parseCastoreNarUrl(
  url: string,
): { readonly node: Node; readonly narSize: bigint } | undefined {
  const [, encoded, narSize] = CASTORE_NAR.exec(url) ?? []
  if (encoded === undefined) return undefined
  try {
    return { node: decodeAnonymousNode(Buffer.from(encoded, 'base64url')), narSize: BigInt(narSize!) }
  } catch (error) {
    if (error instanceof ValidationError) return undefined
    throw error
  }
}
