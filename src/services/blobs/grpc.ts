import type { Digest } from '../../model/castore/digest.ts'
import { blobRpc } from '../../model/wire/services.ts'
import type { Call } from '../../support/call.ts'
import { GRPC_BLOB_MESSAGE_BYTES } from '../../support/limits.ts'
import type { GrpcChannel } from '../grpc-channel.ts'
import { absentIfNotFound, callServerStream, callUnary, retryUnavailable, Upload } from '../grpc-rpc.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'

/** The blobs of a gRPC peer (spec §2.6). What it sends is not verified here. */
export function grpcBlobService(channel: GrpcChannel): BlobService {
  const stat = (digest: Digest, sendChunks: boolean, call?: Call) =>
    retryUnavailable(
      () => absentIfNotFound(callUnary(channel, blobRpc, 'Stat', { digest: digest.bytes, sendChunks }, call)),
      call,
    )
  return {
    async has(digest: Digest, call?: Call): Promise<boolean> {
      return (await stat(digest, false, call)) !== undefined
    },

    chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
      return stat(digest, true, call)
    },

    async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
      const read = () => absentIfNotFound(callServerStream(channel, blobRpc, 'Read', digest.bytes, call))
      const pieces = await retryUnavailable(read, call)
      return pieces && withoutEmpty(pieces)
    },

    openWrite(call?: Call): BlobWriter {
      return new GrpcBlobWriter(new Upload(() => channel.start(blobRpc, 'Put', call), blobRpc.methods.Put))
    },
  }
}

/** Peers may send empty messages; a blob stream has no empty pieces. */
function withoutEmpty(pieces: AsyncIterableIterator<Uint8Array>): BlobStream {
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    for (;;) {
      const piece = await pieces.next()
      if (piece.done || piece.value.length > 0) return piece
    }
  }
  // No generator: one that was never started would not cancel the call when it is returned.
  return { [Symbol.asyncIterator]: () => ({ next, return: () => pieces.return!() }) }
}

class GrpcBlobWriter implements BlobWriter {
  readonly #upload: Upload<Uint8Array, Digest>

  constructor(upload: Upload<Uint8Array, Digest>) {
    this.#upload = upload
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let start = 0; start < bytes.length; start += GRPC_BLOB_MESSAGE_BYTES)
      await this.#upload.send(bytes.subarray(start, start + GRPC_BLOB_MESSAGE_BYTES))
  }

  close(): Promise<Digest> {
    return this.#upload.finish()
  }

  abort(): Promise<void> {
    return this.#upload.cancel()
  }
}
