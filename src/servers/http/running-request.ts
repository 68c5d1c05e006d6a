import type { IncomingHttpHeaders } from 'node:http'
import { TRACEPARENT_HEADER } from '../../services/grpc-headers.ts'
import { StoreError } from '../../support/errors.ts'
import {
  HTTP_HEADER_BYTES_MAX,
  HTTP_REFUSAL_MS,
  HTTP_REQUESTS_MAX,
  HTTP_URL_CHARACTERS_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { continueTrace } from '../../support/trace-context.ts'
import type { Permission } from '../listen/permissions.ts'
import { type AccessRules, permissionsFor } from './access.ts'
import type { HttpHandler, HttpReply, HttpRequest } from './exchange.ts'
import { lineReply } from './exchange.ts'
import { faultReply, Refusal } from './fault-reply.ts'
import { planReply } from './reply-plan.ts'
import { type ReplyStream, tearDown, writeReply } from './reply-writer.ts'
import { bodyOf, type RequestStream } from './request-body.ts'
import type { RequestMetrics } from './request-metrics.ts'

/** What the requests of one server have in common. */
export interface RequestContext {
  readonly handler: HttpHandler
  readonly logger: Logger
  readonly metrics: RequestMetrics
}

/** A request as Node hands it over. */
export interface Exchange {
  readonly request: RequestStream
  readonly reply: ReplyStream
  /** The client waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'])
const OUR_FAULT = 500

/** From the headers of a request to the end of its answer. Never rejects: what fails becomes an answer, or tears. */
export class RunningRequest {
  readonly #exchange: Exchange
  readonly #context: RequestContext
  readonly #rules: AccessRules
  readonly #controller = new AbortController()
  readonly #begun = performance.now()
  readonly #traceparent: string | undefined
  /** Apart from the query, which may carry what a log should not. */
  readonly #path: string
  readonly #query: string
  #bodyWanted = false
  #received = 0
  #sent = 0
  #status = 0

  constructor(exchange: Exchange, rules: AccessRules, context: RequestContext) {
    this.#exchange = exchange
    this.#rules = rules
    this.#context = context
    this.#traceparent = continueTrace(exchange.request.headers[TRACEPARENT_HEADER]?.toString())
    const [path, query] = splitUrl(exchange.request.url ?? '/')
    this.#path = path
    this.#query = query
  }

  async run(): Promise<void> {
    const { reply, request } = this.#exchange
    const leave = () => this.#controller.abort(new StoreError('cancelled', 'the client went away'))
    reply.once('close', leave)
    // Both are seen elsewhere, too; without these an error that nobody waits for would end the process.
    reply.on('error', leave)
    request.on('error', leave)
    this.#context.metrics.begun()
    let failure: unknown
    try {
      await this.#send(await this.#answer())
    } catch (error) {
      failure = error
      await this.#fail(error).catch(() => tearDown(reply))
    }
    this.#end(failure)
  }

  async #answer(): Promise<HttpReply> {
    const { request } = this.#exchange
    if (this.#context.metrics.running > HTTP_REQUESTS_MAX)
      throw new Refusal(503, 'too many requests at once; try again later', { 'retry-after': '1' })
    if ((request.url ?? '').length > HTTP_URL_CHARACTERS_MAX)
      throw new Refusal(414, `the URL has more than ${HTTP_URL_CHARACTERS_MAX} characters`)
    // Two readers could take it for two places (RFC 9112 §3.2); Node shows the first.
    if (hostsOf(request.rawHeaders) > 1) throw new Refusal(400, 'there is more than one Host header')
    if (headerBytes(request.headers) > HTTP_HEADER_BYTES_MAX)
      throw new Refusal(431, `the headers have more than ${HTTP_HEADER_BYTES_MAX} bytes`)
    const method = request.method ?? 'GET'
    const peer = request.socket.remoteAddress
    const permissions = permissionsFor(this.#rules, request.headers, permissionOf(method), peer)
    return (
      (await this.#context.handler(this.#httpRequest(method, permissions))) ??
      lineReply(404, `there is nothing at this URL`)
    )
  }

  #httpRequest(method: string, permissions: ReadonlySet<Permission>): HttpRequest {
    const { request } = this.#exchange
    return {
      method,
      path: this.#path,
      query: new URLSearchParams(this.#query),
      headers: request.headers,
      isSecure: 'encrypted' in request.socket,
      permissions,
      signal: this.#controller.signal,
      traceparent: this.#traceparent,
      body: bodyOf(
        request,
        () => this.#beginBody(),
        (bytes) => {
          this.#received += bytes
        },
      ),
    }
  }

  #beginBody(): void {
    this.#bodyWanted = true
    const { reply, expectsContinue } = this.#exchange
    if (expectsContinue) reply.writeContinue()
  }

  async #send(answer: HttpReply): Promise<void> {
    const { request, reply } = this.#exchange
    const plan = planReply({ method: request.method ?? 'GET', headers: request.headers }, answer)
    this.#status = plan.status
    const close = hasUnreadBody(request, this.#bodyWanted) && !('stream' in reply)
    const headers = close ? { ...plan.headers, connection: 'close' } : plan.headers
    const onSent = close ? () => this.#outlast() : undefined
    this.#sent = await writeReply(reply, { ...plan, headers }, { signal: this.#controller.signal }, onSent)
  }

  /** A client that is still sending gets the time to read the answer, which a reset would take away from it. */
  async #outlast(): Promise<void> {
    const { request } = this.#exchange
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, HTTP_REFUSAL_MS)
    request.once('end', resolve).once('close', resolve).resume()
    await promise
    clearTimeout(timer)
  }

  async #fail(error: unknown): Promise<void> {
    if (this.#exchange.reply.headersSent || this.#controller.signal.aborted)
      return tearDown(this.#exchange.reply)
    await this.#send(error instanceof Refusal ? error.reply : faultReply(StoreError.from(error)))
  }

  #end(failure: unknown): void {
    const { request, reply } = this.#exchange
    const milliseconds = performance.now() - this.#begun
    const method = METHODS.has(request.method ?? '') ? request.method! : 'other'
    this.#context.metrics.ended({
      method,
      status: this.#status,
      seconds: milliseconds / 1000,
      receivedBytes: this.#received,
      sentBytes: this.#sent,
      isComplete: reply.writableFinished,
    })
    const fields = {
      method,
      path: this.#path.slice(0, 300),
      status: this.#status,
      ...(this.#traceparent && { traceparent: this.#traceparent }),
    }
    const { logger } = this.#context
    const error = failure instanceof Refusal || failure === undefined ? undefined : StoreError.from(failure)
    if (error && error.code !== 'cancelled' && (this.#status >= OUR_FAULT || reply.headersSent))
      if (!reply.writableFinished || this.#status >= OUR_FAULT)
        logger.warn({ ...fields, code: error.code, err: error }, 'a request failed')
    logger.debug(
      {
        ...fields,
        ...(failure !== undefined && { reason: (failure as Error).message }),
        peer: request.socket?.remoteAddress,
        ms: Math.round(milliseconds),
        received_bytes: this.#received,
        sent_bytes: this.#sent,
      },
      'a request ended',
    )
  }
}

function permissionOf(method: string): Permission {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? 'read' : 'put'
}

/** Path and query; of the absolute form that proxies send, too. */
function splitUrl(url: string): [string, string] {
  const origin = /^https?:\/\/[^/?#]*(.*)$/i.exec(url)?.[1]
  const target = origin === undefined ? url : origin
  const at = target.indexOf('?')
  const path = at < 0 ? target : target.slice(0, at)
  return [path === '' ? '/' : path, at < 0 ? '' : target.slice(at + 1)]
}

function headerBytes(headers: IncomingHttpHeaders): number {
  let bytes = 0
  for (const [name, value] of Object.entries(headers))
    for (const each of [value].flat()) bytes += name.length + String(each ?? '').length
  return bytes
}

function hostsOf(rawHeaders: readonly string[]): number {
  return rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'host').length
}

function hasUnreadBody(request: RequestStream, wanted: boolean): boolean {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  const hasBody = coding !== undefined || (length !== undefined && length !== '0')
  return hasBody && !(wanted && request.readableEnded)
}
