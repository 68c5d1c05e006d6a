import type { Digest } from '../model/castore/digest.ts'
import type { Directory } from '../model/castore/directory.ts'
import type { FileNode, Node } from '../model/castore/node.ts'
import type { PathComponent } from '../model/castore/path-component.ts'
import type { NarEvent } from '../model/nar/event.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { MissingError, StoreError } from '../support/errors.ts'
import {
  BLOB_BYTES_MAX,
  NAR_BATCH_BYTES_MAX,
  NAR_BATCH_STEPS_MAX,
  SMALL_BLOB_BYTES_MAX,
  TREE_DEPTH_MAX,
} from '../support/limits.ts'

/** A node that is met, with its name unless it is the root; or the end of the directory that was met last and is open. */
export type NarStep = NodeStep | 'end-directory'

interface NodeStep {
  readonly name?: PathComponent | undefined
  readonly node: Node
  /** Bytes of a file. To ask its node each time, whose sizes are bigints, is a tenth of the work on a small file. */
  readonly size: number
}

interface Level {
  readonly entries: Directory['entries']
  next: number
}

/**
 * The steps to the NAR of `root`: depth first, entries in byte order (spec §6.3), in batches of up to NAR_BATCH_STEPS_MAX
 * and of files that hold NAR_BATCH_BYTES_MAX, or a little more; a file that is not small is the last of its batch. Throws `corrupt`, naming the digest, when a directory is missing.
 */
export async function* walkNar(
  directories: DirectoryService,
  root: Node,
  call?: Call,
): AsyncGenerator<readonly NarStep[]> {
  const levels: Level[] = []
  let batch: NarStep[] = []
  let bytes = 0
  const enter = async (digest: Digest) => {
    if (levels.length >= TREE_DEPTH_MAX)
      throw new StoreError('exhausted', `the tree is nested deeper than ${TREE_DEPTH_MAX} directories`)
    levels.push({ entries: (await getDirectory(directories, digest, call)).entries, next: 0 })
  }
  batch.push(stepOf(root))
  if (root.kind === 'directory') await enter(root.digest)
  for (let level = levels.at(-1); level; level = levels.at(-1)) {
    throwIfAborted(call?.signal)
    const entry = level.entries[level.next++]
    const step = entry ? stepOf(entry.node, entry.name) : 'end-directory'
    batch.push(step)
    if (step === 'end-directory') levels.pop()
    else if (step.node.kind === 'directory') await enter(step.node.digest)
    else bytes += step.size
    const isLast = step !== 'end-directory' && !isSmall(step.size)
    if (!isLast && batch.length < NAR_BATCH_STEPS_MAX && bytes < NAR_BATCH_BYTES_MAX) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

function stepOf(node: Node, name?: PathComponent): NodeStep {
  return { name, node, size: node.kind === 'file' ? fileSize(node) : 0 }
}

/** What a step adds to a NAR, but for the contents and the end of a file. */
export function stepEvents(step: NarStep): NarEvent[] {
  if (step === 'end-directory') return [{ type: step }]
  const { node, size } = step
  const event: NarEvent =
    node.kind === 'file' ? { type: 'file', executable: node.executable, size } : nodeEvent(node)
  return step.name ? [{ type: 'entry', name: step.name }, event] : [event]
}

/** The event that begins a node, or all of it but for a file. */
export function nodeEvent(node: Node): NarEvent {
  if (node.kind === 'file') return { type: 'file', executable: node.executable, size: fileSize(node) }
  if (node.kind === 'directory') return { type: 'directory' }
  return { type: 'symlink', target: node.target }
}

/** In bytes. Throws `exhausted` for what is too large to render. */
export function fileSize({ digest, size }: FileNode): number {
  const bytes = Number(size)
  if (bytes > BLOB_BYTES_MAX)
    throw new StoreError('exhausted', `blob ${digest} is said to have ${size} bytes: too large to render`)
  return bytes
}

/** Held in memory as a whole; others are streamed. */
export function isSmall(bytes: number): boolean {
  return bytes <= SMALL_BLOB_BYTES_MAX
}

async function getDirectory(directories: DirectoryService, digest: Digest, call?: Call): Promise<Directory> {
  const directory = await directories.get(digest, call)
  if (!directory) throw new MissingError(`directory ${digest}`)
  return directory
}
