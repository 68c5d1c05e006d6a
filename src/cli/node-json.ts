import type { Node } from '../model/castore/node.ts'
import { view } from '../support/bytes.ts'

/** A root node for scripts, in the form of spec §4.5 (`import-nar --format json`). */
export function jsonOfNode(node: Node): object {
  if (node.kind === 'symlink') return { type: node.kind, target: view(node.target).toString('utf8') }
  const { kind: type, digest } = node
  const fields = { type, digest: `blake3-${view(digest.bytes).toString('base64')}`, size: Number(node.size) }
  return node.kind === 'file' ? { ...fields, executable: node.executable } : fields
}
