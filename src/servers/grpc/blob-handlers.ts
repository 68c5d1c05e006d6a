import type { Digest } from '../../model/castore/digest.ts'
import type { blobRpc } from '../../model/wire/services.ts'
import type { BlobService, BlobWriter } from '../../services/blobs/interface.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import { blobMessages } from './blob-messages.ts'
import type { Handlers } from './method-adapter.ts'
import { requireDigest } from './request-digest.ts'

/** spec §2.2 */
export function blobHandlers(blobs: BlobService): Handlers<typeof blobRpc> {
  return {
    /** Chunks are always sent, whether they were asked for or not, as upstream does (spec §2.2). */
    async Stat(request, call) {
      const digest = requireDigest(request.digest)
      const chunks = await blobs.chunks(digest, call)
      if (!chunks) throw absent(digest)
      return chunks
    },

    async *Read(request, call) {
      const digest = requireDigest(request)
      const pieces = await blobs.openRead(digest, call)
      if (!pieces) throw absent(digest)
      yield* blobMessages(pieces)
    },

    async Put(messages, call) {
      const writer = blobs.openWrite(call)
      try {
        await copy(messages, writer)
        return await finish(writer)
      } catch (error) {
        await writer.abort()
        throw error
      }
    },
  }
}

async function copy(messages: AsyncIterable<Uint8Array>, writer: BlobWriter): Promise<void> {
  for await (const data of messages) {
    if (data.length === 0) continue
    try {
      await writer.write(data)
    } catch (error) {
      throw withContext('error copying', error)
    }
  }
}

async function finish(writer: BlobWriter): Promise<Digest> {
  try {
    return await writer.close()
  } catch (error) {
    throw withContext('error closing stream', error)
  }
}

function absent(digest: Digest): StoreError {
  return new StoreError('not-found', `blob ${digest} not found`)
}
