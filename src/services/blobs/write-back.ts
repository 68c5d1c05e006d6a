import { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import type { Source } from '../source-set.ts'
import type { WriteQueue } from '../write-queue.ts'
import type { BlobService, BlobWriter } from './interface.ts'
import { PieceDigester } from './piece-digester.ts'

/**
 * Writes to `near`, which must be durable, and to `far` later. That a blob is to be sent is noted before near shows
 * it: a blob that near has and nobody sends would be skipped by the next import, and missing in far for good.
 */
export function writeBackBlobService(
  reads: BlobService,
  near: Source<BlobService>,
  far: Source<BlobService>,
  queue: WriteQueue,
): BlobService {
  queue.register('blob', (key, call) => send(Digest.fromBytes(key), near.service, far.service, call))
  return {
    has: (digest, call) => reads.has(digest, call),
    chunks: (digest, call) => reads.chunks(digest, call),
    openRead: (digest, call) => reads.openRead(digest, call),
    openWrite: (call) => new WriteBack(near.service.openWrite(call), queue),
  }
}

class WriteBack implements BlobWriter {
  readonly #near: BlobWriter
  readonly #queue: WriteQueue
  readonly #digester = new PieceDigester()
  #closed: Promise<Digest> | undefined

  constructor(near: BlobWriter, queue: WriteQueue) {
    this.#near = near
    this.#queue = queue
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#digester.update(bytes)
    return this.#near.write(bytes)
  }

  close(): Promise<Digest> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  abort(): Promise<void> {
    return this.#near.abort()
  }

  async #finish(): Promise<Digest> {
    const ready = await this.#queue.add('blob', this.#digester.digest().bytes)
    try {
      return await this.#near.close()
    } finally {
      ready()
    }
  }
}

async function send(digest: Digest, near: BlobService, far: BlobService, call: Call): Promise<void> {
  if (await far.has(digest, call)) return
  const stream = await near.openRead(digest, call)
  // Noted, but never stored: its writer failed, and told so.
  if (!stream) return
  const writer = far.openWrite(call)
  try {
    for await (const piece of stream) await writer.write(piece)
    await writer.close()
  } catch (error) {
    await writer.abort()
    throw error
  }
}
