import type { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { checkChunkList } from './chunk-list.ts'
import type {
  BlobService,
  BlobStream,
  BlobWriter,
  ChunkMeta,
  ReadChunk,
  ReadInto,
  SmallWrites,
} from './interface.ts'
import { PieceDigester } from './piece-digester.ts'

/**
 * The one place where the bytes of blobs are compared with the digest that was asked for. A stream passes on
 * everything but its last piece, and that one only when the digest of all matched: nobody can read a false blob
 * to its end. What does not match is `corrupt`; `source` is what the message calls the base. Only what `readInto` and `readChunk` give
 * was compared before it comes here (see there).
 */
export function verifyingBlobService(base: BlobService, source: string): BlobService {
  return new VerifyingBlobService(base, source)
}

class VerifyingBlobService implements BlobService {
  readonly #base: BlobService
  readonly #source: string
  readonly hasMany: BlobService['hasMany']
  readonly readInto: ReadInto | undefined
  readonly readChunk: ReadChunk | undefined
  readonly smallWrites: SmallWrites | undefined
  readonly digestsWrites = true

  constructor(base: BlobService, source: string) {
    this.#base = base
    this.#source = source
    this.smallWrites = base.smallWrites
    this.hasMany = base.hasMany && ((digests, call) => base.hasMany!(digests, call))
    this.readChunk = base.readChunk && ((chunk, call) => base.readChunk!(chunk, call))
    this.readInto = base.readInto && ((target, wanted, call) => base.readInto!(target, wanted, call))
  }

  has(digest: Digest, call?: Call): Promise<boolean> {
    return this.#base.has(digest, call)
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    const chunks = await this.#base.chunks(digest, call)
    if (chunks) checkChunkList(digest, chunks, this.#source)
    return chunks
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    const stream = await this.#base.openRead(digest, call)
    if (!stream) return undefined
    const pieces = verified(stream, digest, this.#source)
    return { [Symbol.asyncIterator]: () => pieces, giveBack: (piece) => stream.giveBack?.(piece) }
  }

  openWrite(call?: Call): BlobWriter {
    const writer = this.#base.openWrite(call)
    return this.#base.digestsWrites ? writer : new VerifyingBlobWriter(writer, this.#source)
  }
}

async function* verified(stream: BlobStream, digest: Digest, source: string): AsyncGenerator<Uint8Array> {
  const digester = new PieceDigester()
  let last: Uint8Array | undefined
  for await (const piece of stream) {
    if (piece.length === 0) continue
    digester.update(piece)
    if (last) yield last
    last = piece
  }
  const found = digester.digest()
  if (!found.equals(digest))
    throw new StoreError(
      'corrupt',
      `blob ${digest} from ${source} is corrupt: its ${digester.size} bytes have the digest ${found}`,
    )
  if (last) yield last
}

class VerifyingBlobWriter implements BlobWriter {
  readonly #base: BlobWriter
  readonly #source: string
  readonly #digester = new PieceDigester()

  constructor(base: BlobWriter, source: string) {
    this.#base = base
    this.#source = source
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#digester.update(bytes)
    return this.#base.write(bytes)
  }

  async close(): Promise<Digest> {
    const written = this.#digester.digest()
    const stored = await this.#base.close()
    if (!stored.equals(written))
      throw new StoreError(
        'corrupt',
        `${this.#source} stored a blob of ${this.#digester.size} bytes as ${stored}, but it is ${written}`,
      )
    return stored
  }

  abort(): Promise<void> {
    return this.#base.abort()
  }
}
