/**
 * A node becomes its NAR (spec §6.3): depth first, entries in byte order. The archive is made in batches of about 1 MiB:
 * what stands around the contents is written into a buffer, with room between for those of small files, which are read
 * into it while the batches before are on their way out. So a file costs no object, no copy and no round trip of its own.
 * Large ones are streamed in their turn.
 */
import { EMPTY_DIGEST } from '../model/castore/digest.ts'
import type { Node } from '../model/castore/node.ts'
import {
  DIRECTORY_HEADER_BYTES,
  entryBytes,
  FILE_END_BYTES_MAX,
  fileBytes,
  NODE_END_BYTES,
  symlinkBytes,
} from '../model/nar/size.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { BlobService, PlacedBlob } from '../services/blobs/interface.ts'
import { readBlobsInto } from '../services/blobs/read-blob.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { BufferRooms } from '../support/buffer-rooms.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { NAR_BATCHES_MAX, NAR_ROOM_BYTES, NAR_ROOMS_MAX } from '../support/limits.ts'
import { type LargeFile, LargeFiles } from './large-files.ts'
import { isSmall, type NarStep, stepEvents, walkNar } from './nar-walk.ts'

export interface Contents {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

/** Where the memory of pieces comes from, and where a reader may give those back that he is done with: it saves a fifth of the work. */
export const narRooms = new BufferRooms({
  bytes: NAR_ROOM_BYTES,
  busyMax: NAR_ROOMS_MAX,
  idleMax: NAR_ROOMS_MAX,
})

/**
 * The NAR of `root` in pieces of any size. Throws `corrupt`, naming the digest, when a directory or blob below it is
 * missing or a blob is not as large as its node says; what came before the throw is then worthless. The pieces belong to the
 * reader until he gives them back to `narRooms`, which he need not do.
 */
export async function* renderNar(services: Contents, root: Node, call?: Call): AsyncGenerator<Uint8Array> {
  const writer = new NarWriter()
  const large = new LargeFiles(services.blobs, call)
  const batches = mapConcurrent(
    walkNar(services.directories, root, call),
    NAR_BATCHES_MAX,
    (steps, inner) => renderBatch(services.blobs, writer, large, steps, inner),
    call,
  )
  try {
    for await (const { pieces, contents, rest } of batches) {
      yield* pieces
      if (contents) yield* large.take(contents)
      yield* rest
    }
    writer.finish()
  } finally {
    await large.end()
  }
}

interface Batch {
  readonly pieces: readonly Uint8Array[]
  /** Come between the pieces and the rest. */
  readonly contents: LargeFile | undefined
  readonly rest: readonly Uint8Array[]
}

/** Batches are begun in their order, and share the writer until they have begun. */
async function renderBatch(
  blobs: BlobService,
  writer: NarWriter,
  large: LargeFiles,
  steps: readonly NarStep[],
  call: Call,
): Promise<Batch> {
  const buffer = narRooms.take(steps.reduce((sum, step) => sum + bytesMax(step), 0))
  writer.beginBuffer(buffer)
  const wanted: PlacedBlob[] = []
  let pieces: readonly Uint8Array[] | undefined
  let contents: LargeFile | undefined
  for (const step of steps) {
    for (const event of stepEvents(step)) writer.write(event)
    if (step === 'end-directory' || step.node.kind !== 'file') continue
    const { node: file, size } = step
    if (isSmall(size)) {
      const blob = { digest: file.digest, size, offset: writer.leaveRoom(size) }
      if (size > 0 || !file.digest.equals(EMPTY_DIGEST)) wanted.push(blob)
    } else {
      contents = large.add(file, size)
      pieces = writer.take()
      writer.skipContents(size)
      // A room is one piece, so that who gives that back gives all of it back.
      writer.beginBuffer(Buffer.alloc(FILE_END_BYTES_MAX))
    }
    writer.write({ type: 'end-file' })
  }
  const rest = writer.take()
  await readBlobsInto(blobs, buffer, wanted, call)
  return { pieces: pieces ?? [], contents, rest }
}

/** Room that a step takes in the buffer, or a little less. */
function bytesMax(step: NarStep): number {
  if (step === 'end-directory') return 2 * NODE_END_BYTES
  const { name, node, size } = step
  const before = name ? entryBytes(name.length) : 0
  if (node.kind === 'directory') return before + DIRECTORY_HEADER_BYTES
  if (node.kind === 'symlink') return before + symlinkBytes(node.target.length)
  const bytes = before + fileBytes(size, node.executable)
  return isSmall(size) ? bytes : bytes - size
}
