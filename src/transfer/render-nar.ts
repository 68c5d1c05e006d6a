/**
 * A node becomes its NAR (spec §6.3): depth first, entries in byte order. Small blobs are fetched ahead of their turn,
 * since one request after the other would cost a round trip a file; large ones are streamed when their turn comes.
 */
import type { Digest } from '../model/castore/digest.ts'
import type { Directory } from '../model/castore/directory.ts'
import type { Entry, FileNode, Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import type { NarEvent } from '../model/nar/event.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { BlobService, BlobStream } from '../services/blobs/interface.ts'
import { readBlob } from '../services/blobs/read-blob.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import {
  BLOB_BYTES_MAX,
  NAR_PREFETCH_FILES_MAX,
  SMALL_BLOB_BYTES_MAX,
  TREE_DEPTH_MAX,
} from '../support/limits.ts'

export interface Contents {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

/**
 * The NAR of `root` in pieces of any size. Throws `corrupt`, naming the digest, when a directory or blob below it is
 * missing or a blob is not as large as its node says; what came before the throw is then worthless.
 */
export async function* renderNar(services: Contents, root: Node, call?: Call): AsyncGenerator<Uint8Array> {
  const writer = new NarWriter()
  const steps = mapConcurrent(
    walk(services.directories, root, call),
    NAR_PREFETCH_FILES_MAX,
    (step, stepCall) => fetchAhead(services.blobs, step, stepCall),
    call,
  )
  for await (const { events, file, contents } of steps) {
    for (const event of events) writer.write(event)
    if (file) yield* renderFile(services.blobs, writer, file, contents, call)
    if (writer.pendingBytes >= SMALL_BLOB_BYTES_MAX) yield* writer.take()
  }
  yield* writer.take()
  writer.finish()
}

/** Events in order, up to and including the next file, whose contents are still to come. */
interface Step {
  readonly events: readonly NarEvent[]
  readonly file?: FileNode
}

interface Level {
  readonly entries: readonly Entry[]
  next: number
}

async function* walk(directories: DirectoryService, root: Node, call?: Call): AsyncGenerator<Step> {
  const levels: Level[] = []
  const enter = async (node: Node): Promise<Step> => {
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

function fileEvent(node: FileNode): NarEvent {
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

/** The contents of a small file, held until their turn; of a large one, nothing yet. */
async function fetchAhead(
  blobs: BlobService,
  step: Step,
  call: Call,
): Promise<Step & { contents?: Uint8Array | undefined }> {
  const { file } = step
  if (!file || file.size > BigInt(SMALL_BLOB_BYTES_MAX)) return step
  return { ...step, contents: await readBlob(blobs, file.digest, Number(file.size), call) }
}

async function* renderFile(
  blobs: BlobService,
  writer: NarWriter,
  file: FileNode,
  held: Uint8Array | undefined,
  call?: Call,
): AsyncGenerator<Uint8Array> {
  try {
    if (held) writer.write({ type: 'contents', bytes: held })
    else
      for await (const bytes of await openBlob(blobs, file.digest, call)) {
        writer.write({ type: 'contents', bytes })
        yield* writer.take()
      }
    writer.write({ type: 'end-file' })
  } catch (error) {
    // The writer counts what it gets against the size of the node: here that is a fault of what is stored.
    if (!(error instanceof ValidationError)) throw error
    throw new StoreError('corrupt', `blob ${file.digest}: ${error.message}`, { cause: error })
  }
}

async function openBlob(blobs: BlobService, digest: Digest, call?: Call): Promise<BlobStream> {
  const stream = await blobs.openRead(digest, call)
  if (!stream) throw new StoreError('corrupt', `blob ${digest} is missing from the store`)
  return stream
}
