import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BlobStream } from '../../services/blobs/interface.ts'
import { concatBytes } from '../../support/bytes.ts'
import { GRPC_BLOB_MESSAGE_BYTES, GRPC_BLOB_PIECE_BYTES_MIN } from '../../support/limits.ts'

const NOT_YET = Symbol('the source is waiting for something')

/**
 * The data of the messages that carry a blob. Large pieces are cut. Small ones that follow each other at once, as those
 * of a blob that comes from another gRPC peer do, are put together, but never wait for one that is still to come.
 *
 * Ask for a message when the last but one has left: pieces are given back then.
 */
export async function* blobMessages(pieces: BlobStream): AsyncGenerator<Uint8Array> {
  const source = pieces[Symbol.asyncIterator]()
  let coming: Promise<IteratorResult<Uint8Array>> | undefined
  /** Its last message may still be on its way. */
  let leaving: Uint8Array | undefined
  try {
    for (;;) {
      const { done, value: piece } = await (coming ?? source.next())
      coming = undefined
      if (done) return
      if (piece.length >= GRPC_BLOB_PIECE_BYTES_MIN) {
        for (const message of cut(piece)) {
          yield message
          if (leaving) pieces.giveBack?.(leaving)
          leaving = undefined
        }
        leaving = piece
        continue
      }
      const gathered = [piece]
      coming = (await gather(source, gathered)).next
      yield gathered.length === 1 ? piece : concatBytes(gathered)
    }
  } finally {
    const left = source.return?.()
    // One that waits for its source hears of the end by the signal of the call.
    if (!coming) await left
  }
}

function* cut(piece: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < piece.length; start += GRPC_BLOB_MESSAGE_BYTES)
    yield piece.subarray(start, start + GRPC_BLOB_MESSAGE_BYTES)
}

/** Adds the small pieces that are there already. What comes after them, perhaps later, is returned. */
async function gather(
  source: AsyncIterator<Uint8Array>,
  gathered: Uint8Array[],
): Promise<{ readonly next: Promise<IteratorResult<Uint8Array>> }> {
  const turn = nextTurn(NOT_YET)
  let bytes = gathered[0]!.length
  for (;;) {
    const next = source.next()
    next.catch(() => {}) // thrown when its turn comes
    const piece = await Promise.race([next, turn]).catch(() => NOT_YET)
    if (typeof piece === 'symbol' || piece.done) return { next }
    bytes += piece.value.length
    if (piece.value.length >= GRPC_BLOB_PIECE_BYTES_MIN || bytes > GRPC_BLOB_MESSAGE_BYTES) return { next }
    gathered.push(piece.value)
  }
}
