import type { Entry, Node } from '../../model/castore/node.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import { utf8, view } from '../../support/bytes.ts'
import type { RootNodes } from './root-nodes.ts'

/** Just these paths at the root: nothing else exists, now or later, and listing asks nobody. */
export function closureRootNodes(closure: Iterable<PathInfo>): RootNodes {
  return fixedRootNodes(
    Array.from(closure, ({ storePath, node }) => ({ name: utf8(storePath.toString()), node })),
  )
}

/** The entries of a directory at the root, likewise. */
export function directoryRootNodes(entries: readonly Entry[]): RootNodes {
  return fixedRootNodes(entries)
}

function fixedRootNodes(entries: readonly { readonly name: Uint8Array; readonly node: Node }[]): RootNodes {
  const nodes = new Map(entries.map(({ name, node }) => [view(name).toString('latin1'), node]))
  const find = (basename: Uint8Array) => nodes.get(view(basename).toString('latin1'))
  return {
    canExist: (basename) => find(basename) !== undefined,
    get: async (basename) => find(basename),
    async *list() {
      yield* entries
    },
  }
}
