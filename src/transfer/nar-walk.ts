import type { Digest } from '../model/castore/digest.ts'
import type { Directory } from '../model/castore/directory.ts'
import type { Entry, FileNode, Node } from '../model/castore/node.ts'
import type { NarEvent } from '../model/nar/event.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { BLOB_BYTES_MAX, TREE_DEPTH_MAX } from '../support/limits.ts'

/** Events in order, up to and including the next file, whose contents are still to come. */
export interface NarStep {
  readonly events: readonly NarEvent[]
  readonly file?: FileNode
}

interface Level {
  readonly entries: readonly Entry[]
  next: number
}

/**
 * The NAR of `root` without the contents of its files: depth first, entries in byte order (spec §6.3). Throws `corrupt`,
 * naming the digest, when a directory is missing.
 */
export async function* walkNar(
  directories: DirectoryService,
  root: Node,
  call?: Call,
): AsyncGenerator<NarStep> {
  const levels: Level[] = []
  const enter = async (node: Node): Promise<NarStep> => {
    if (node.kind === 'symlink') return { events: [{ type: 'symlink', target: node.target }] }
    if (node.kind === 'file') return { events: [fileEvent(node)], file: node }
    if (levels.length >= TREE_DEPTH_MAX)
      throw new StoreError('exhausted', `the tree is nested deeper than ${TREE_DEPTH_MAX} directories`)
    levels.push({ entries: (await getDirectory(directories, node.digest, call)).entries, next: 0 })
    return { events: [{ type: 'directory' }] }
  }
  yield await enter(root)
  for (let level = levels.at(-1); level; level = levels.at(-1)) {
    throwIfAborted(call?.signal)
    const entry = level.entries[level.next++]
    if (entry) {
      const { events, file } = await enter(entry.node)
      yield { events: [{ type: 'entry', name: entry.name }, ...events], ...(file && { file }) }
    } else {
      levels.pop()
      yield { events: [{ type: 'end-directory' }] }
    }
  }
}

export function fileEvent(node: FileNode): NarEvent {
  if (node.size > BigInt(BLOB_BYTES_MAX))
    throw new StoreError(
      'exhausted',
      `blob ${node.digest} is said to have ${node.size} bytes: too large to render`,
    )
  return { type: 'file', executable: node.executable, size: Number(node.size) }
}

async function getDirectory(directories: DirectoryService, digest: Digest, call?: Call): Promise<Directory> {
  const directory = await directories.get(digest, call)
  if (!directory) throw new StoreError('corrupt', `directory ${digest} is missing from the store`)
  return directory
}
