/**
 * A node becomes its NAR (spec §6.3): depth first, entries in byte order. Small blobs are fetched ahead of their turn,
 * since one request after the other would cost a round trip a file; large ones are streamed when their turn comes.
 */
import type { Digest } from '../model/castore/digest.ts'
import type { FileNode, Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { BlobService, BlobStream } from '../services/blobs/interface.ts'
import { readBlob } from '../services/blobs/read-blob.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { NAR_PREFETCH_FILES_MAX, SMALL_BLOB_BYTES_MAX } from '../support/limits.ts'
import { type NarStep, walkNar } from './nar-walk.ts'

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
    walkNar(services.directories, root, call),
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

/** The contents of a small file, held until their turn; of a large one, nothing yet. */
async function fetchAhead(
  blobs: BlobService,
  step: NarStep,
  call: Call,
): Promise<NarStep & { contents?: Uint8Array | undefined }> {
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
