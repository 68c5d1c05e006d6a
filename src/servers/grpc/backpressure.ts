import type { ServerHttp2Stream } from 'node:http2'
import { Metadata, type ServerReadableStream, type ServerWritableStream } from '@grpc/grpc-js'
import { writeFrame } from '../../services/grpc-frames.ts'
import { throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { GRPC_STREAMS_AHEAD_MAX } from '../../support/limits.ts'
import { holdOneMessage, http2Stream, isCut, receivePieces } from './grpc-js-internals.ts'

/** The answers of one server that consist of many messages, as long as they last. */
export class AnswerStreams {
  #running = 0

  /** So many that each is to have no more in memory than what is leaving. */
  get isCrowded(): boolean {
    return this.#running > GRPC_STREAMS_AHEAD_MAX
  }

  /** Returns what ends it. */
  begin(): () => void {
    this.#running++
    return () => {
      this.#running--
    }
  }
}

/**
 * Writes responses one ahead of the transport: while one message is on its way the next may be made, and no
 * more; in a crowd not even that. (The stream's own buffer would take 16, which is 16 MiB for each client that reads slowly.)
 *
 * They go to the HTTP/2 stream and not through grpc-js; see writeFrame.
 */
export class ResponseSink {
  readonly #call: ServerWritableStream<Buffer, Buffer>
  readonly #stream: ServerHttp2Stream
  readonly #running: { readonly signal: AbortSignal; messagesLeft: number }
  readonly #answers: AnswerStreams
  #underway: PromiseWithResolvers<void> | undefined

  /** `running` is told of each message that has left. */
  constructor(
    call: ServerWritableStream<Buffer, Buffer>,
    running: { readonly signal: AbortSignal; messagesLeft: number },
    answers: AnswerStreams,
  ) {
    this.#call = call
    this.#stream = http2Stream(call)
    this.#running = running
    this.#answers = answers
    const { signal } = running
    // The transport forgets the callback of a write that is underway when the client leaves.
    signal.addEventListener('abort', () => this.#underway?.reject(StoreError.from(signal.reason)), {
      once: true,
    })
  }

  /** Resolves when the next message may be made. Throws `cancelled` when the client is gone. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    await this.#underway?.promise
    throwIfAborted(this.#running.signal)
    // By a deadline of the client grpc-js ends the stream before it tells us; a write after that would be an error.
    if (this.#stream.writableEnded || this.#stream.closed || this.#stream.destroyed)
      throw new StoreError('cancelled', 'the client went away, or its deadline passed')
    this.#underway = this.#send(parts)
    if (this.#answers.isCrowded) await this.#underway.promise
  }

  #send(parts: readonly Uint8Array[]): PromiseWithResolvers<void> {
    const sent = Promise.withResolvers<void>()
    sent.promise.catch(() => {}) // thrown by the next write; after the last one nobody is left to tell
    this.#call.sendMetadata(new Metadata()) // once; later ones are ignored
    writeFrame(this.#stream, parts, (error) => {
      if (error) return sent.reject(cut(error))
      this.#running.messagesLeft++
      sent.resolve()
    })
    return sent
  }
}

function cut(error: Error): StoreError {
  return new StoreError('cancelled', `the client went away: ${error.message}`, { cause: error })
}

/**
 * The messages of a request stream, each in one piece or, if `inPieces`, in those in which it came. A client that leaves in the middle ends it with `cancelled`, so that half an
 * upload never passes for a whole one.
 */
export async function* pullFrom(
  call: ServerReadableStream<Buffer, Buffer>,
  signal: AbortSignal,
  inPieces: boolean,
): AsyncGenerator<readonly Buffer[]> {
  holdOneMessage(call)
  const pieces = inPieces ? receivePieces(call) : undefined
  try {
    // Leaving this loop must not destroy the call: the status has still to be sent on it.
    for await (const message of call.iterator({ destroyOnReturn: false }))
      yield pieces?.take(message) ?? [message]
  } catch (error) {
    throwIfAborted(signal)
    throw StoreError.from(error)
  }
  // Node ends the stream of a reset connection like any other; whoever asks can tell the difference.
  if (isCut(call)) throw new StoreError('cancelled', 'the client went away in the middle of its upload')
}
