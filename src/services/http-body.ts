import type { IncomingMessage } from 'node:http'
import { countBuffers } from '../support/buffer-garbage.ts'
import { concatBytes, view } from '../support/bytes.ts'
import { throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { brokenConnection, shownUrl } from './http-error.ts'
import type { HttpPolicy } from './http-policy.ts'

/**
 * The body of an answer, read once, in pieces as they come. Breaking off is `unavailable`, also where the server
 * announced more; too little for too long is `deadline`. Time that the reader takes is not the server's.
 */
export class HttpBody implements AsyncIterable<Uint8Array> {
  readonly #incoming: IncomingMessage
  readonly #url: URL
  readonly #policy: HttpPolicy
  readonly #signal: AbortSignal | undefined
  #bytesLately = 0
  #waitedLately = 0

  constructor(incoming: IncomingMessage, url: URL, policy: HttpPolicy, signal: AbortSignal | undefined) {
    this.#incoming = incoming
    this.#url = url
    this.#policy = policy
    this.#signal = signal
    incoming.on('error', () => {}) // told to whoever reads; a body that nobody reads may break
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const abort = () => this.#incoming.destroy(StoreError.from(this.#signal?.reason))
    this.#signal?.addEventListener('abort', abort, { once: true })
    const pieces: AsyncIterator<Uint8Array> = this.#incoming[Symbol.asyncIterator]()
    try {
      throwIfAborted(this.#signal)
      for (;;) {
        const { done, value } = await this.#inTime(pieces)
        if (done) break
        yield value
      }
    } catch (error) {
      throw brokenConnection(this.#url, error)
    } finally {
      this.#signal?.removeEventListener('abort', abort)
      // A connection whose body was not read to its end is of no use any more.
      if (!this.#incoming.readableEnded) this.#incoming.destroy()
    }
  }

  /** The whole of a body that must be small: `corrupt` when there is more of it. `heard` is called for every piece. */
  async bytes(bytesMax: number, heard: () => void = () => {}): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let length = 0
    for await (const piece of this) {
      heard()
      length += piece.length
      if (length > bytesMax)
        throw new StoreError('corrupt', `${shownUrl(this.#url)}: the answer is longer than ${bytesMax} bytes`)
      pieces.push(piece)
    }
    countBuffers(2 * length)
    return concatBytes(pieces, length)
  }

  /** The beginning of a body that says why not, as a text: so much of it at most, however long it is. */
  async reason(bytesMax: number): Promise<string> {
    const pieces: Uint8Array[] = []
    let length = 0
    for await (const piece of this) {
      pieces.push(piece)
      length += piece.length
      if (length >= bytesMax) break
    }
    return view(concatBytes(pieces, length).subarray(0, bytesMax)).toString('utf8')
  }

  /** Says that nobody will read it. A short rest is read, so that the connection can be used again. */
  discard(): void {
    const length = Number(this.#incoming.headers['content-length'] ?? Number.POSITIVE_INFINITY)
    if (length <= this.#policy.silenceBytes) this.#incoming.resume()
    else this.#incoming.destroy()
  }

  async #inTime(pieces: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    const { silenceMsMax, silenceBytes } = this.#policy
    const began = performance.now()
    const timer = setTimeout(
      () => this.#incoming.destroy(this.#tooSlow()),
      Math.max(0, silenceMsMax - this.#waitedLately),
    )
    try {
      const next = await pieces.next()
      this.#bytesLately += next.value?.length ?? 0
      return next
    } finally {
      clearTimeout(timer)
      this.#waitedLately += performance.now() - began
      if (this.#bytesLately >= silenceBytes) this.#bytesLately = this.#waitedLately = 0
    }
  }

  #tooSlow(): StoreError {
    const { silenceMsMax } = this.#policy
    return new StoreError(
      'deadline',
      `${shownUrl(this.#url)}: only ${this.#bytesLately} bytes within ${silenceMsMax / 1000} s`,
    )
  }
}
