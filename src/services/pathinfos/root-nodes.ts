import type { Node } from '../../model/castore/node.ts'
import { ValidationError } from '../../model/castore/validation-error.ts'
import { StorePath } from '../../model/nix/store-path.ts'
import { equalBytes, printable, utf8 } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { LocalPathInfoService, PathInfoService } from './interface.ts'

/** The names at the root of a mount, each with the node it stands for (spec §5.1, "root node provider"). */
export interface RootNodes {
  /** Whether there could ever be such a name. `false` is final: nobody needs to be asked. */
  canExist(basename: Uint8Array): boolean

  /** `undefined` when there is no such name, and every source said so. */
  get(basename: Uint8Array, call?: Call): Promise<Node | undefined>

  /** As `get`, without waiting, where that is possible; `undefined`: `get` has an answer, or an error. */
  getNow?(basename: Uint8Array): Node | undefined

  /** All of them, in no particular order, without collecting them first. */
  list(call?: Call): AsyncIterable<{ name: Uint8Array; node: Node }>
}

/**
 * Store paths as the names at the root. A path info is found by its hash alone, so the whole basename is
 * compared with what was found: `<hash>-another-name` does not exist (spec §5.1, §10). `readNow`: a way to the same path infos
 * without waiting.
 */
export function pathInfoRootNodes(
  pathInfos: Pick<PathInfoService, 'get' | 'list'>,
  readNow?: LocalPathInfoService['readNow'],
): RootNodes {
  return {
    ...(readNow && { getNow: (basename: Uint8Array) => nodeNow(readNow, basename) }),

    canExist: (basename) => parseBasename(basename) !== undefined,

    async get(basename, call) {
      const wanted = parseBasename(basename)
      if (!wanted) return undefined
      const found = await pathInfos.get(wanted.digest, call)
      if (!found) return undefined
      if (!equalBytes(found.storePath.digest, wanted.digest))
        throw new StoreError(
          'corrupt',
          `asked for the path info of ${printable(basename)}, the source answered with ${found.storePath}`,
        )
      return found.storePath.name === wanted.name ? found.node : undefined
    },

    async *list(call) {
      for await (const { storePath, node } of pathInfos.list(call))
        yield { name: utf8(storePath.toString()), node }
    },
  }
}

/** Only what fits the question: `get` tells what is wrong with anything else. */
function nodeNow(readNow: LocalPathInfoService['readNow'], basename: Uint8Array): Node | undefined {
  const wanted = parseBasename(basename)
  const found = wanted && readNow(wanted.digest)
  if (!found || !equalBytes(found.storePath.digest, wanted.digest)) return undefined
  return found.storePath.name === wanted.name ? found.node : undefined
}

function parseBasename(basename: Uint8Array): StorePath | undefined {
  try {
    return StorePath.parse(basename)
  } catch (error) {
    if (error instanceof ValidationError) return undefined
    throw error
  }
}
