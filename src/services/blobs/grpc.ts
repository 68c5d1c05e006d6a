import type { Digest } from '../../model/castore/digest.ts'
import { blobRpc } from '../../model/wire/services.ts'
import type { Call } from '../../support/call.ts'
import { GRPC_BLOB_MESSAGE_BYTES } from '../../support/limits.ts'
import type { GrpcChannel } from '../grpc-channel.ts'
import { absentIfNotFound, callServerStream, callUnary, retryUnavailable, Upload } from '../grpc-rpc.ts'
import { checkChunkList } from './chunk-list.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import { openResuming } from './resuming-stream.ts'

/** The blobs of a gRPC peer (spec §2.6). What it sends is not verified here. */
export function grpcBlobService(channel: GrpcChannel): BlobService {
  const stat = (digest: Digest, sendChunks: boolean, call?: Call) =>
    retryUnavailable(
      channel,
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

    openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
      const { patienceMs, resumptions } = channel.policy
      const read = (part: Digest) =>
        retryUnavailable(
          channel,
          () => absentIfNotFound(callServerStream(channel, blobRpc, 'Read', part.bytes, call)),
          call,
        )
      const chunks = async (whole: Digest) => {
        const list = await stat(whole, true, call)
        if (list) checkChunkList(whole, list, channel.address)
        return list
      }
      return openResuming({ name: channel.address, read, chunks, patienceMs, resumptions }, digest)
    },

    openWrite(call?: Call): BlobWriter {
      return new GrpcBlobWriter(new Upload(() => channel.start(blobRpc, 'Put', call), blobRpc.methods.Put))
    },
  }
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
