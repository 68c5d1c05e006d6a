import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { Call } from '../../support/call.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'

/**
 * Directories from the first of several sources that has them; nothing can be stored (spec §3.4, "priority"). Other
 * than there, a source that fails is passed over.
 */
export function priorityDirectoryService(set: SourceSet<DirectoryService>): DirectoryService {
  const readOnly = () =>
    new StoreError('unimplemented', 'these directories can only be read: a list of sources takes no writes')
  return {
    get: async (digest: Digest, call?: Call): Promise<Directory | undefined> =>
      (await set.ask(call, (each, inner) => each.get(digest, inner)))?.value,
    getRecursive: (digest: Digest, call?: Call) => walkFailingOver(set, digest, call),
    put: async (): Promise<Digest> => {
      throw readOnly()
    },
    startPutter(): DirectoryPutter {
      throw readOnly()
    },
  }
}

/**
 * When a source breaks off, the next one sends the closure, too, and what was yielded already is left out. The order
 * stays right: whatever comes first in the second walk comes after a parent of its own.
 */
async function* walkFailingOver(
  set: SourceSet<DirectoryService>,
  root: Digest,
  call: Call | undefined,
): AsyncGenerator<Directory> {
  const yielded = new Set<string>()
  const broken = new Set<Source<DirectoryService>>()
  let failure: StoreError | undefined
  for (;;) {
    const found = await set.open(call, (each, inner) => begin(each.getRecursive(root, inner)), broken)
    // Where one broke off and the others have nothing, that is no absence.
    if (!found && failure) throw failure
    if (!found) return
    const { value, from, release } = found
    try {
      for (let item = value.first; !item.done; item = await value.rest.next()) {
        if (yielded.has(item.value.digest.key)) continue
        yielded.add(item.value.digest.key)
        yield item.value
      }
      return
    } catch (error) {
      if (call?.signal?.aborted) throw StoreError.from(call.signal.reason)
      set.failed(from, error)
      broken.add(from)
      failure = withContext(from.name, error)
    } finally {
      release()
      await value.rest.return?.()
    }
  }
}

/** The walk with its first directory, so that it is known who answers; `undefined` when there is none. */
async function begin(
  walk: AsyncIterable<Directory>,
): Promise<{ first: IteratorResult<Directory>; rest: AsyncIterator<Directory> } | undefined> {
  const rest = walk[Symbol.asyncIterator]()
  const first = await rest.next()
  return first.done ? undefined : { first, rest }
}
