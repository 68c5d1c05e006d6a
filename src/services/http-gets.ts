import type { Dispatcher, Pool } from 'undici'
import { type BufferRooms, countedBuffer } from '../support/buffer-rooms.ts'
import { throwIfAborted } from '../support/call.ts'
import { type ErrorCode, StoreError, systemCode } from '../support/errors.ts'
import {
  BUCKET_REQUESTS_MAX,
  HTTP_BODY_AT_ONCE_BYTES_MAX,
  HTTP_CONNECT_MS_MAX,
  HTTP_HEADER_BYTES_MAX,
  HTTP_IDLE_MS_MAX,
  HTTP_SILENCE_BYTES,
  HTTP_SILENCE_MS_MAX,
} from '../support/limits.ts'
import { brokenConnection, shownUrl } from './http-error.ts'
import type { Request } from './requests.ts'

export interface HttpGet {
  /** With the query, as it is sent. */
  readonly path: string
  /** All but `host`. */
  readonly headers: Readonly<Record<string, string>>
  /** More in an answer is `corrupt`. */
  readonly bytesMax: number
  /** Where the body may lie, if its size is announced; who asked gives it back. */
  readonly rooms?: BufferRooms | undefined
}

export interface HttpGot {
  /** Any but 1xx: redirects are not followed. */
  readonly status: number
  /** By their names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly bytes: Uint8Array
}

/** The package, which whoever needs it loads first: that takes a twentieth of a second, in which nothing else happens. */
export type Undici = typeof import('undici')

/**
 * GETs of one server over connections that are kept, each body in one block of memory. Silence is not bounded here (see
 * Requests), but a server that drips is as good as dead. Throws as HttpClient does, but no status is an error.
 */
export class HttpGets implements Disposable {
  readonly #origin: URL
  readonly #pool: Pool

  /** `origin`: http or https; its path is not looked at. */
  constructor(origin: URL, undici: Undici) {
    this.#origin = origin
    this.#pool = new undici.Pool(origin.origin, POOL_OPTIONS)
  }

  async get(wanted: HttpGet, request: Request): Promise<HttpGot> {
    for (let isAgain = false; ; isAgain = true) {
      throwIfAborted(request.signal)
      const exchange = new Exchange(wanted, request)
      try {
        return await exchange.run(this.#pool)
      } catch (error) {
        throwIfAborted(request.signal)
        // A kept connection may have ended just when it was to be used again; undici does not tell which was kept.
        if (isAgain || !exchange.isUnanswered || !ENDED.has(systemCode(error) ?? ''))
          throw explained(new URL(wanted.path, this.#origin), error)
      }
    }
  }

  [Symbol.dispose](): void {
    const reason = new StoreError('cancelled', 'the connection was closed')
    this.#pool.destroy(reason).catch(() => {}) // told to who asked for it
  }
}

const POOL_OPTIONS: Pool.Options = {
  connections: BUCKET_REQUESTS_MAX,
  connect: { timeout: HTTP_CONNECT_MS_MAX },
  allowH2: false,
  maxHeaderSize: HTTP_HEADER_BYTES_MAX,
  keepAliveTimeout: HTTP_IDLE_MS_MAX,
  keepAliveMaxTimeout: HTTP_IDLE_MS_MAX,
  // The signal of each request has a deadline for both.
  headersTimeout: 0,
  bodyTimeout: 0,
}

/** One GET, as undici tells of it. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #wanted: HttpGet
  readonly #request: Request
  readonly #got = Promise.withResolvers<HttpGot>()
  #controller: Dispatcher.DispatchController | undefined
  #hasBegun = false
  #head: Omit<HttpGot, 'bytes'> | undefined
  #body: Body | undefined
  /** Bytes that came … */
  #lately = 0
  /** … since then. */
  #since = performance.now()

  constructor(wanted: HttpGet, request: Request) {
    this.#wanted = wanted
    this.#request = request
  }

  /** It was asked on a connection, and nothing of an answer came. */
  get isUnanswered(): boolean {
    return this.#controller !== undefined && !this.#hasBegun
  }

  async run(pool: Pool): Promise<HttpGot> {
    const { path, headers } = this.#wanted
    const { signal } = this.#request
    signal.addEventListener('abort', this.#abort, { once: true })
    try {
      pool.dispatch({ method: 'GET', path, headers }, this)
      return await this.#got.promise
    } finally {
      signal.removeEventListener('abort', this.#abort)
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#request.signal.aborted) this.#abort()
  }

  onResponseStarted(): void {
    this.#hasBegun = true
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.#request.progress()
    // What is said before the answer (RFC 9110 §15.2) is for others.
    if (status < 200) return
    this.#head = { status, headers: new Map(Object.entries(headers).map(([name, is]) => [name, String(is)])) }
    const length = this.#head.headers.get('content-length')
    const { bytesMax, rooms } = this.#wanted
    this.#body = new Body(length === undefined ? undefined : Number(length), bytesMax, rooms)
  }

  onResponseData(_: Dispatcher.DispatchController, piece: Uint8Array): void {
    this.#request.progress()
    this.#body!.append(piece)
    this.#lately += piece.length
    const now = performance.now()
    if (this.#lately >= HTTP_SILENCE_BYTES) {
      this.#lately = 0
      this.#since = now
    } else if (now - this.#since > HTTP_SILENCE_MS_MAX)
      throw new StoreError('deadline', `only ${this.#lately} bytes within ${HTTP_SILENCE_MS_MAX / 1000} s`)
  }

  onResponseEnd(): void {
    this.#got.resolve({ ...this.#head!, bytes: this.#body!.bytes })
  }

  /** Nothing of undici's is called after this, so that nobody writes to the room. */
  onResponseError(_: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#body) this.#wanted.rooms?.giveBack(this.#body.bytes)
    this.#body = undefined
    this.#got.reject(error)
  }

  readonly #abort = (): void => {
    const reason = StoreError.from(this.#request.signal.reason)
    // Before it has a connection there is nothing to be ended but the waiting.
    if (this.#controller) this.#controller.abort(reason)
    else this.#got.reject(reason)
  }
}

/** A block that grows: who announces a gigabyte has to send it before we have it. */
class Body {
  readonly #bytesMax: number
  #buffer: Buffer
  #length = 0

  constructor(announced: number | undefined, bytesMax: number, rooms: BufferRooms | undefined) {
    this.#bytesMax = bytesMax
    if (announced !== undefined && announced > bytesMax) throw this.#tooLong()
    const first = Math.min(announced ?? UNANNOUNCED_BYTES, HTTP_BODY_AT_ONCE_BYTES_MAX)
    this.#buffer = (announced === undefined ? undefined : rooms?.take(first)) ?? countedBuffer(first)
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length)
  }

  append(piece: Uint8Array): void {
    const length = this.#length + piece.length
    if (length > this.#bytesMax) throw this.#tooLong()
    if (length > this.#buffer.length) {
      const larger = countedBuffer(Math.min(Math.max(2 * this.#buffer.length, length), this.#bytesMax))
      larger.set(this.bytes)
      this.#buffer = larger
    }
    this.#buffer.set(piece, this.#length)
    this.#length = length
  }

  #tooLong(): StoreError {
    return new StoreError('corrupt', `the answer is longer than ${this.#bytesMax} bytes`)
  }
}

/** Such bodies are messages of some lines, as a rule. */
const UNANNOUNCED_BYTES = 4_096

const ENDED = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** Errors of undici that mean something else than a connection that broke. */
const MEANINGS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  UND_ERR_INVALID_ARG: ['invalid-argument', 'such a request cannot be made'],
  UND_ERR_CONNECT_TIMEOUT: ['deadline', `no connection within ${HTTP_CONNECT_MS_MAX / 1000} s`],
  UND_ERR_HEADERS_OVERFLOW: ['corrupt', 'the answer is not HTTP: its headers are too long'],
}

function explained(url: URL, error: unknown): StoreError {
  const say = (code: ErrorCode, text: string) =>
    new StoreError(code, `${shownUrl(url)}: ${text}`, { cause: error })
  if (error instanceof StoreError) return say(error.code, error.message)
  const known = MEANINGS[systemCode(error) ?? '']
  if (known) return say(...known)
  // Its parser's errors have no code.
  if (!(error instanceof Error) || error.name !== 'HTTPParserError') return brokenConnection(url, error)
  return error.message.includes('Invalid EOF state')
    ? say('unavailable', 'the connection ended in the middle of the answer')
    : say('corrupt', `the answer is not HTTP: ${error.message}`)
}
