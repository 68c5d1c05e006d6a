import type { Digest } from '../../model/castore/digest.ts'
import type { blobRpc } from '../../model/wire/services.ts'
import type { BlobService, BlobWriter } from '../../services/blobs/interface.ts'
import { withContext, withoutTrace } from '../../support/errors.ts'
import { AbsenceError } from './absence.ts'
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
      yield* blobMessages(pieces, call)
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

async function copy(messages: AsyncIterable<readonly Uint8Array[]>, writer: BlobWriter): Promise<void> {
  for await (const pieces of messages) {
    try {
      for (const data of pieces) if (data.length > 0) await writer.write(data)
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

function absent(digest: Digest): AbsenceError {
  return withoutTrace(() => new AbsenceError(`blob ${digest} not found`))
}
