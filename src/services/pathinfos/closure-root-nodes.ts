import type { PathInfo } from '../../model/nix/path-info.ts'
import { utf8, view } from '../../support/bytes.ts'
import type { RootNodes } from './root-nodes.ts'

/** Just these paths at the root: nothing else exists, now or later, and listing asks nobody. */
export function closureRootNodes(closure: Iterable<PathInfo>): RootNodes {
  const nodes = new Map([...closure].map(({ storePath, node }) => [storePath.toString(), node]))
  const find = (basename: Uint8Array) => nodes.get(view(basename).toString('latin1'))
  return {
    canExist: (basename) => find(basename) !== undefined,
    get: async (basename) => find(basename),
    async *list() {
      for (const [name, node] of nodes) yield { name: utf8(name), node }
    },
  }
}
