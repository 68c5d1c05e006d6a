import type { Digest } from '../model/castore/digest.ts'
import type { Node } from '../model/castore/node.ts'
import { view } from '../support/bytes.ts'

/** A root node for scripts, in the form of spec §4.5 (`import-nar --format json`). */
export function jsonOfNode(node: Node): object {
  if (node.kind === 'symlink') return { type: node.kind, target: view(node.target).toString('utf8') }
  const { kind: type, digest } = node
  const fields = {
    type,
    digest: printDigest(digest),
    size: exactNumber(node.size),
  }
  return node.kind === 'file' ? { ...fields, executable: node.executable } : fields
}

/** The form of snix (spec §4.5), which is one of SRI hashes. */
export function printDigest(digest: Digest): string {
  return `blake3-${view(digest.bytes).toString('base64')}`
}

/** Of Node since 22; TypeScript does not know it yet. */
interface RawJson {
  rawJSON(text: string): object
}

/** A u64 as a number of `JSON.stringify`, all digits of it: JSON has no limit where JavaScript's numbers have one. */
export function exactNumber(value: bigint): object {
  return (JSON as unknown as RawJson).rawJSON(value.toString())
}
