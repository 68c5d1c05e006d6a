import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BlobStream } from '../../services/blobs/interface.ts'
import { concatBytes } from '../../support/bytes.ts'
import { GRPC_BLOB_MESSAGE_BYTES, GRPC_BLOB_PIECE_BYTES_MIN } from '../../support/limits.ts'

/** How far the messages of an answer have come. */
export interface AnswerProgress {
  /** Messages that the transport has taken, so that nobody reads their memory any more. */
  readonly messagesLeft: number
}

const NOT_YET = Symbol('the source is waiting for something')

/**
 * The data of the messages that carry a blob. Large pieces are cut. Small ones that follow each other at once, as those
 * of a blob that comes from another gRPC peer do, are put together, but never wait for one that is still to come.
 *
 * Pieces are given back as soon as `progress` says that all their messages have left.
 */
export async function* blobMessages(
  pieces: BlobStream,
  progress: AnswerProgress,
): AsyncGenerator<Uint8Array> {
  const source = pieces[Symbol.asyncIterator]()
  const leaving = new LeavingPieces(pieces, progress)
  let coming: Promise<IteratorResult<Uint8Array>> | undefined
  try {
    for (;;) {
      const { done, value: piece } = await (coming ?? source.next())
      coming = undefined
      if (done) return
      if (piece.length >= GRPC_BLOB_PIECE_BYTES_MIN) {
        leaving.add(piece)
        for (const message of cut(piece)) {
          yield message
          leaving.giveBack()
        }
        continue
      }
      const gathered = [piece]
      coming = (await gather(source, gathered)).next
      leaving.add()
      yield gathered.length === 1 ? piece : concatBytes(gathered)
      leaving.giveBack()
    }
  } finally {
    const left = source.return?.()
    // One that waits for its source hears of the end by the signal of the call.
    if (!coming) await left
  }
}

/** Pieces of which messages are on their way. */
class LeavingPieces {
  readonly #pieces: BlobStream
  readonly #progress: AnswerProgress
  readonly #queue: { readonly piece: Uint8Array; readonly messages: number }[] = []
  /** That were made, with all of what was added. */
  #messages = 0

  constructor(pieces: BlobStream, progress: AnswerProgress) {
    this.#pieces = pieces
    this.#progress = progress
  }

  /** A piece, for all of its messages, or one message that holds no such piece. */
  add(piece?: Uint8Array): void {
    this.#messages += piece ? Math.ceil(piece.length / GRPC_BLOB_MESSAGE_BYTES) : 1
    if (piece) this.#queue.push({ piece, messages: this.#messages })
  }

  /** Those of which nothing is left to be sent. */
  giveBack(): void {
    while (this.#queue[0] && this.#queue[0].messages <= this.#progress.messagesLeft) {
      const { piece } = this.#queue.shift()!
      this.#pieces.giveBack?.(piece)
    }
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
