import type { ServerReadableStream, ServerWritableStream } from '@grpc/grpc-js'
import { throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { isCut } from './grpc-js-internals.ts'

/**
 * Writes responses one ahead of the transport: while one message is on its way the next may be made, and no
 * more. (The stream's own buffer would take 16, which is 8 MiB for each client that reads slowly.)
 */
export class ResponseSink {
  readonly #call: ServerWritableStream<Buffer, Buffer>
  readonly #signal: AbortSignal
  #underway: Promise<void> = Promise.resolve()

  constructor(call: ServerWritableStream<Buffer, Buffer>, signal: AbortSignal) {
    this.#call = call
    this.#signal = signal
  }

  /** Resolves when the message before this one has left. Throws `cancelled` when the client is gone. */
  async write(message: Buffer): Promise<void> {
    await this.#underway
    throwIfAborted(this.#signal)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // The transport forgets the callback of a write that is underway when the client leaves.
    const abandon = () => reject(StoreError.from(this.#signal.reason))
    this.#signal.addEventListener('abort', abandon, { once: true })
    this.#call.write(message, () => {
      this.#signal.removeEventListener('abort', abandon)
      resolve()
    })
    promise.catch(() => {}) // thrown by the next write; after the last one nobody is left to tell
    this.#underway = promise
  }
}

/**
 * The messages of a request stream. A client that leaves in the middle ends it with `cancelled`, so that half an
 * upload never passes for a whole one.
 */
export async function* pullFrom(
  call: ServerReadableStream<Buffer, Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  try {
    // Leaving this loop must not destroy the call: the status has still to be sent on it.
    yield* call.iterator({ destroyOnReturn: false })
  } catch (error) {
    throwIfAborted(signal)
    throw StoreError.from(error)
  }
  // Node ends the stream of a reset connection like any other; whoever asks can tell the difference.
  if (isCut(call)) throw new StoreError('cancelled', 'the client went away in the middle of its upload')
}
