import type { Digest } from '../model/castore/digest.ts'
import type { Directory } from '../model/castore/directory.ts'
import type { Entry, FileNode, Node } from '../model/castore/node.ts'
import type { NarEvent } from '../model/nar/event.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import {
  BLOB_BYTES_MAX,
  NAR_BATCH_BYTES_MAX,
  NAR_BATCH_STEPS_MAX,
  TREE_DEPTH_MAX,
} from '../support/limits.ts'

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
 * The NAR of `root` without the contents of its files: depth first, entries in byte order (spec §6.3), in batches of up to
 * NAR_BATCH_STEPS_MAX steps and of files that hold NAR_BATCH_BYTES_MAX, or a little more. Throws `corrupt`, naming the
 * digest, when a directory is missing.
 */
export async function* walkNar(
  directories: DirectoryService,
  root: Node,
  call?: Call,
): AsyncGenerator<readonly NarStep[]> {
  const levels: Level[] = []
  let batch: NarStep[] = []
  let bytes = 0
  const add = (node: Node, before: readonly NarEvent[]) => {
    if (node.kind === 'file') bytes += Number(node.size)
    batch.push(stepInto(node, before))
  }
  const enter = async (digest: Digest) => {
    if (levels.length >= TREE_DEPTH_MAX)
      throw new StoreError('exhausted', `the tree is nested deeper than ${TREE_DEPTH_MAX} directories`)
    levels.push({ entries: (await getDirectory(directories, digest, call)).entries, next: 0 })
  }
  add(root, [])
  if (root.kind === 'directory') await enter(root.digest)
  for (let level = levels.at(-1); level; level = levels.at(-1)) {
    throwIfAborted(call?.signal)
    const entry = level.entries[level.next++]
    if (entry) {
      add(entry.node, [{ type: 'entry', name: entry.name }])
      if (entry.node.kind === 'directory') await enter(entry.node.digest)
    } else {
      levels.pop()
      batch.push(END_DIRECTORY)
    }
    if (batch.length < NAR_BATCH_STEPS_MAX && bytes < NAR_BATCH_BYTES_MAX) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

const END_DIRECTORY: NarStep = { events: [{ type: 'end-directory' }] }

function stepInto(node: Node, before: readonly NarEvent[]): NarStep {
  if (node.kind === 'file') return { events: [...before, fileEvent(node)], file: node }
  if (node.kind === 'directory') return { events: [...before, { type: 'directory' }] }
  return { events: [...before, { type: 'symlink', target: node.target }] }
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
