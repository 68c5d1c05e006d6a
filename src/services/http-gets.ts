import { connect, isIP, type OnReadOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { BufferRooms } from '../support/buffer-rooms.ts'
import { throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import {
  HTTP_CONNECT_MS_MAX,
  HTTP_HEADER_BYTES_MAX,
  HTTP_IDLE_MS_MAX,
  HTTP_SILENCE_BYTES,
  HTTP_SILENCE_MS_MAX,
  HTTP_URL_CHARACTERS_MAX,
} from '../support/limits.ts'
import { AnswerReader } from './http-answer-reader.ts'
import { brokenConnection, shownUrl } from './http-error.ts'
import type { Request } from './requests.ts'

export interface HttpGet {
  /** With the query, as it is sent. */
  readonly path: string
  /** All but `host`. */
  readonly headers: Readonly<Record<string, string>>
  /** More in an answer is `corrupt`. */
  readonly bytesMax: number
  /** Where the body may lie; who asked gives it back. */
  readonly rooms?: BufferRooms | undefined
}

export interface HttpGot {
  /** Any but 1xx. */
  readonly status: number
  /** By their names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly bytes: Uint8Array
}

/**
 * GETs of one server by HTTP/1.1, over connections that are kept. A body goes from the socket straight into one block of memory:
 * with node:http it comes in pieces of 64 KiB, each copied twice on its way and collected, which for objects of 300 KiB takes
 * 0.9 ms of CPU instead of 0.1 to 0.3.
 *
 * Neither the number of connections nor the silence of a server is bounded here (see Requests), but a server that drips is as good
 * as dead. Throws as HttpClient does, but no status is an error.
 */
export class HttpGets implements Disposable {
  readonly #origin: URL
  readonly #connections = new Set<Connection>()
  /** The one used last is at the end. */
  readonly #idle: Connection[] = []
  /** What TLS need not do again for the next connection. */
  #session: Buffer | undefined

  /** `origin`: http or https; its path is not looked at. */
  constructor(origin: URL) {
    this.#origin = origin
  }

  async get(wanted: HttpGet, request: Request): Promise<HttpGot> {
    const text = requestText(this.#origin, wanted)
    for (;;) {
      throwIfAborted(request.signal)
      const connection = this.#take()
      const got = await connection.exchange(text, wanted, request)
      if (connection.isUsable) this.#idle.push(connection)
      // A kept connection may have ended just when it was to be used again.
      if (got) return got
    }
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection[Symbol.dispose]()
  }

  #take(): Connection {
    for (let kept = this.#idle.pop(); kept; kept = this.#idle.pop()) {
      if (kept.isUsable) return kept
      kept[Symbol.dispose]()
    }
    const opened = new Connection(
      this.#origin,
      (onread) => this.#open(onread),
      () => this.#connections.delete(opened),
    )
    this.#connections.add(opened)
    return opened
  }

  #open(onread: OnReadOpts): Socket {
    const { protocol, hostname, port } = this.#origin
    const isTls = protocol === 'https:'
    // Without the brackets of an IPv6 address.
    const host = hostname.replace(/^\[(.*)\]$/, '$1')
    const options = {
      host,
      port: Number(port || (isTls ? 443 : 80)),
      onread,
      noDelay: true,
      keepAlive: true,
    }
    if (!isTls) return connect(options)
    return connectTls({
      ...options,
      ...(isIP(host) === 0 && { servername: host }),
      ...(this.#session && { session: this.#session }),
      ALPNProtocols: ['http/1.1'],
    }).on('session', (session) => {
      this.#session = session
    })
  }
}

interface Exchange {
  readonly reader: AnswerReader
  readonly request: Request
  /** For messages. */
  readonly path: string
  readonly abort: () => void
  /** Bytes that came … */
  lately: number
  /** … since then. */
  since: number
  settle(got: HttpGot | undefined, error?: StoreError): void
}

class Connection implements Disposable {
  readonly #origin: URL
  readonly #socket: Socket
  readonly #scratch = Buffer.allocUnsafeSlow(HTTP_HEADER_BYTES_MAX)
  #exchange: Exchange | undefined
  /** Exchanges that it has had. */
  #count = 0
  #idleSince = 0

  constructor(origin: URL, open: (onread: OnReadOpts) => Socket, closed: () => void) {
    this.#origin = origin
    this.#socket = open({
      buffer: () => this.#exchange?.reader.room ?? this.#scratch,
      callback: (count) => {
        this.#received(count)
        return true
      },
    })
    const timer = setTimeout(() => this.#socket.destroy(this.#unconnected()), HTTP_CONNECT_MS_MAX)
    this.#socket
      .once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => clearTimeout(timer))
      .on('error', (error) => this.#fail(error))
      .on('end', () => this.#ended())
      .on('close', () => {
        clearTimeout(timer)
        this.#fail(new Error('the connection broke'))
        closed()
      })
  }

  /** For another exchange. */
  get isUsable(): boolean {
    if (this.#exchange || this.#socket.destroyed) return false
    return performance.now() - this.#idleSince < HTTP_IDLE_MS_MAX
  }

  /** `undefined` when a connection that was kept had ended before anything of the answer came. */
  exchange(text: string, { path, bytesMax, rooms }: HttpGet, request: Request): Promise<HttpGot | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpGot | undefined>()
    const abort = () => this.#fail(request.signal.reason)
    this.#exchange = {
      reader: new AnswerReader(this.#scratch, bytesMax, rooms),
      request,
      path,
      abort,
      lately: 0,
      since: performance.now(),
      settle: (got, error) => (error ? reject(error) : resolve(got)),
    }
    this.#count++
    request.signal.addEventListener('abort', abort, { once: true })
    this.#socket.ref()
    this.#socket.write(text, 'latin1')
    return promise
  }

  [Symbol.dispose](): void {
    this.#fail(new StoreError('cancelled', 'the connection was closed'))
  }

  #received(count: number): void {
    const exchange = this.#exchange
    // Nobody asked for it: the next answer would be taken for that of another request.
    if (!exchange) return void this.#socket.destroy()
    try {
      if (exchange.reader.received(count)) this.#complete(exchange)
      else this.#heard(exchange, count)
    } catch (error) {
      this.#fail(error)
    }
  }

  #heard(exchange: Exchange, count: number): void {
    exchange.request.progress()
    exchange.lately += count
    const now = performance.now()
    if (exchange.lately >= HTTP_SILENCE_BYTES) {
      exchange.lately = 0
      exchange.since = now
    } else if (now - exchange.since > HTTP_SILENCE_MS_MAX)
      throw new StoreError('deadline', `only ${exchange.lately} bytes within ${HTTP_SILENCE_MS_MAX / 1000} s`)
  }

  #ended(): void {
    const exchange = this.#exchange
    if (exchange?.reader.ended()) this.#complete(exchange)
  }

  #complete(exchange: Exchange): void {
    const { reader } = exchange
    this.#leave(exchange)
    if (reader.isKept) {
      this.#idleSince = performance.now()
      this.#socket.unref()
    } else this.#socket.destroy()
    const { head, bytes } = reader.answer
    exchange.settle({ status: head.status, headers: head.headers, bytes })
  }

  /** Ends the connection, and the exchange on it. */
  #fail(error: unknown): void {
    const exchange = this.#exchange
    // First: nothing may be read to what is given back.
    this.#socket.destroy()
    if (!exchange) return
    this.#leave(exchange)
    const { reader, request, path } = exchange
    reader.giveUp()
    if (request.signal.aborted) exchange.settle(undefined, StoreError.from(request.signal.reason))
    else if (this.#count > 1 && !reader.hasBegun && !(error instanceof StoreError)) exchange.settle(undefined)
    else exchange.settle(undefined, this.#explain(path, error))
  }

  #leave(exchange: Exchange): void {
    exchange.request.signal.removeEventListener('abort', exchange.abort)
    this.#exchange = undefined
  }

  #explain(path: string, error: unknown): StoreError {
    const url = new URL(path, this.#origin)
    if (error instanceof StoreError) return new StoreError(error.code, `${shownUrl(url)}: ${error.message}`)
    return brokenConnection(url, error)
  }

  #unconnected(): StoreError {
    return new StoreError('deadline', `no connection within ${HTTP_CONNECT_MS_MAX / 1000} s`)
  }
}

function requestText({ host }: URL, { path, headers }: HttpGet): string {
  if (path.length > HTTP_URL_CHARACTERS_MAX || /[^\x21-\x7e]/.test(path))
    throw new StoreError('invalid-argument', 'the path of the request is too long, or none')
  let text = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    // Else it could add headers of its own (RFC 9110 §5.5).
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
      throw new StoreError('invalid-argument', `the header ${name} has a character that none may have`)
    text += `${name}: ${value}\r\n`
  }
  return `${text}\r\n`
}
