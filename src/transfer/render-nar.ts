/**
 * A node becomes its NAR (spec §6.3): depth first, entries in byte order. Small blobs are fetched ahead of their turn
 * and many at a time, since one after the other would cost a round trip a file; large ones are streamed in their turn.
 */
import type { Digest } from '../model/castore/digest.ts'
import type { FileNode, Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { BlobService, SizedBlob } from '../services/blobs/interface.ts'
import { readBlobs } from '../services/blobs/read-blob.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { NAR_BATCHES_MAX, SMALL_BLOB_BYTES_MAX } from '../support/limits.ts'
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
  const batches = mapConcurrent(
    walkNar(services.directories, root, call),
    NAR_BATCHES_MAX,
    (steps, batchCall) => fetchAhead(services.blobs, steps, batchCall),
    call,
  )
  for await (const { steps, contents } of batches) {
    let next = 0
    for (const { events, file } of steps) {
      for (const event of events) writer.write(event)
      if (!file) continue
      if (isSmall(file)) ofBlob(file, () => endFile(writer, contents[next++]!))
      else yield* renderLarge(services.blobs, writer, file, call)
    }
    yield* writer.take()
  }
  writer.finish()
}

interface Batch {
  readonly steps: readonly NarStep[]
  /** Of its small files, in their order. */
  readonly contents: readonly Uint8Array[]
}

async function fetchAhead(blobs: BlobService, steps: readonly NarStep[], call: Call): Promise<Batch> {
  const wanted: SizedBlob[] = []
  for (const { file } of steps)
    if (file && isSmall(file)) wanted.push({ digest: file.digest, size: Number(file.size) })
  if (wanted.length === 0) return { steps, contents: [] }
  const found = await readBlobs(blobs, wanted, call)
  const contents = wanted.map(({ digest }, i) => found[i] ?? missing(digest))
  return { steps, contents }
}

function isSmall({ size }: FileNode): boolean {
  return size <= BigInt(SMALL_BLOB_BYTES_MAX)
}

async function* renderLarge(
  blobs: BlobService,
  writer: NarWriter,
  file: FileNode,
  call?: Call,
): AsyncGenerator<Uint8Array> {
  const stream = (await blobs.openRead(file.digest, call)) ?? missing(file.digest)
  for await (const bytes of stream) {
    ofBlob(file, () => writer.write({ type: 'contents', bytes }))
    yield* writer.take()
  }
  ofBlob(file, () => writer.write({ type: 'end-file' }))
}

function endFile(writer: NarWriter, bytes: Uint8Array): void {
  writer.write({ type: 'contents', bytes })
  writer.write({ type: 'end-file' })
}

/** The writer counts what it gets against the size of the node: here that is a fault of what is stored. */
function ofBlob({ digest }: FileNode, write: () => void): void {
  try {
    write()
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    throw new StoreError('corrupt', `blob ${digest}: ${error.message}`, { cause: error })
  }
}

function missing(digest: Digest): never {
  throw new StoreError('corrupt', `blob ${digest} is missing from the store`)
}
