import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingHttpHeaders,
  request as requestHttp,
} from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { type Call, throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { HTTP_HEADER_BYTES_MAX, HTTP_REDIRECTS_MAX, HTTP_URL_CHARACTERS_MAX } from '../support/limits.ts'
import { jittered, pause } from '../support/pause.ts'
import { BusyError, parseRetryAfter } from './busy-error.ts'
import { HttpBody } from './http-body.ts'
import { brokenConnection, isPassing, shownUrl } from './http-error.ts'
import { DEFAULT_HTTP_POLICY, type HttpPolicy } from './http-policy.ts'

export interface HttpRequest extends Call {
  /** `GET` unless given. Every request must be one that may be sent twice. */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** In memory, since it is sent again when the request is. */
  readonly body?: Uint8Array
}

export interface HttpResponse {
  /** Below 500 and not 429, and no redirect of a GET or HEAD that is to be followed: those are dealt with here. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** What answered, after redirects. */
  readonly url: URL
  /** As it came, whatever its Content-Encoding. It holds a connection until it is read or discarded. */
  readonly body: HttpBody
}

export interface HttpClient extends Disposable {
  /**
   * Resolves when the head of the answer is there. Throws `unavailable` when nobody answers, or with 5xx or 429
   * after some tries; `deadline` when the answer takes too long; `corrupt` for what is no HTTP, for redirects
   * without end and for those that leave TLS or HTTP; `invalid-argument` for a URL that is not http or https.
   */
  request(url: URL, request?: HttpRequest): Promise<HttpResponse>
}

const USER_AGENT = 'tvix-store'
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const FOLLOWING_METHODS = new Set(['GET', 'HEAD'])

export interface HttpClientOptions {
  /** Without it a redirect is an answer like others. */
  readonly followsRedirects?: boolean
}

/** Connections are kept and shared. */
export function httpClient(policy: Partial<HttpPolicy> = {}, options: HttpClientOptions = {}): HttpClient {
  return new NodeHttpClient({ ...DEFAULT_HTTP_POLICY, ...policy }, options)
}

class NodeHttpClient implements HttpClient {
  readonly #policy: HttpPolicy
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #followsRedirects: boolean

  constructor(policy: HttpPolicy, { followsRedirects = true }: HttpClientOptions) {
    this.#policy = policy
    this.#followsRedirects = followsRedirects
    const options = { keepAlive: true, proxyEnv: process.env }
    this.#http = new HttpAgent(options)
    this.#https = new HttpsAgent(options)
  }

  async request(url: URL, request: HttpRequest = {}): Promise<HttpResponse> {
    let at = url
    for (let redirects = 0; redirects <= HTTP_REDIRECTS_MAX; redirects++) {
      const response = await this.#retrying(at, sameOrigin(at, url) ? request : withoutCredentials(request))
      const { location } = response.headers
      const follows = this.#followsRedirects && FOLLOWING_METHODS.has(request.method ?? 'GET')
      if (!REDIRECTS.has(response.status) || location === undefined || !follows) return response
      response.body.discard()
      at = redirected(at, location)
    }
    throw new StoreError(
      'corrupt',
      `${shownUrl(url)}: more than ${HTTP_REDIRECTS_MAX} redirects, the last to ${shownUrl(at)}`,
    )
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
    this.#https.destroy()
  }

  async #retrying(url: URL, request: HttpRequest): Promise<HttpResponse> {
    for (const usual of this.#policy.retryMs) {
      try {
        return await this.#once(url, request)
      } catch (error) {
        const patience = pauseBefore(error, usual, this.#policy.retryAfterMsMax)
        if (patience === undefined) throw error
        await pause(patience, request.signal)
      }
    }
    return await this.#once(url, request)
  }

  async #once(url: URL, request: HttpRequest): Promise<HttpResponse> {
    throwIfAborted(request.signal)
    const response = await this.#exchange(url, request)
    if (response.status < 500 && response.status !== 429) return response
    response.body.discard()
    throw new BusyStatusError(url, response)
  }

  #exchange(url: URL, request: HttpRequest): Promise<HttpResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>()
    const outgoing = this.#start(url, request)
    const abort = () => outgoing.destroy(StoreError.from(request.signal?.reason))
    request.signal?.addEventListener('abort', abort, { once: true })
    const patience = new AnswerDeadline(outgoing, url, this.#policy)
    const settle = () => {
      patience[Symbol.dispose]()
      request.signal?.removeEventListener('abort', abort)
    }
    outgoing.once('response', (incoming) => {
      settle()
      const body = new HttpBody(incoming, url, this.#policy, request.signal)
      resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, url, body })
    })
    // Not `once`: a request that is given up may fail a second time, and nobody else listens.
    outgoing.on('error', (error) => {
      settle()
      reject(brokenConnection(url, error))
    })
    outgoing.end(request.body)
    return promise
  }

  #start(url: URL, { method = 'GET', headers, body }: HttpRequest): ClientRequest {
    if (url.href.length > HTTP_URL_CHARACTERS_MAX)
      throw new StoreError('invalid-argument', `${shownUrl(url).slice(0, 200)}…: the URL is too long`)
    const options = {
      method,
      headers: {
        'user-agent': USER_AGENT,
        'accept-encoding': 'identity',
        ...(body && { 'content-length': String(body.length) }),
        ...headers,
      },
      maxHeaderSize: HTTP_HEADER_BYTES_MAX,
    }
    if (url.protocol === 'https:') return requestHttps(url, { ...options, agent: this.#https })
    if (url.protocol === 'http:') return requestHttp(url, { ...options, agent: this.#http })
    throw new StoreError('invalid-argument', `${shownUrl(url)} is neither http nor https`)
  }
}

/** Gives a request up that does not connect, or is not answered once it is connected. */
class AnswerDeadline implements Disposable {
  #timer: NodeJS.Timeout

  constructor(request: ClientRequest, url: URL, policy: HttpPolicy) {
    const giveUpAfter = (ms: number, what: string) =>
      setTimeout(
        () =>
          request.destroy(new StoreError('deadline', `${shownUrl(url)}: no ${what} within ${ms / 1000} s`)),
        ms,
      )
    this.#timer = giveUpAfter(policy.connectMsMax, 'connection')
    const connected = () => {
      clearTimeout(this.#timer)
      this.#timer = giveUpAfter(policy.answerMsMax, 'answer')
    }
    request.once('socket', (socket) => {
      if (!socket.connecting) connected()
      else socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', connected)
    })
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}

/** Of a status that says: not now, or not here. */
export class BusyStatusError extends BusyError {
  readonly isWorthATry: boolean

  constructor(url: URL, { status, headers }: HttpResponse) {
    super(`${shownUrl(url)}: HTTP status ${status}`, parseRetryAfter(headers['retry-after']), status)
    this.isWorthATry = status !== 501 && status !== 505
  }
}

/** How long to wait before the request is made again; `undefined` when that would be in vain, or take too long. */
function pauseBefore(error: unknown, usual: number, retryAfterMsMax: number): number | undefined {
  if (!(error instanceof BusyStatusError)) return isPassing(error) ? jittered(usual) : undefined
  const asked = error.retryAfterMs ?? 0
  if (!error.isWorthATry || asked > retryAfterMsMax) return undefined
  return Math.max(jittered(usual), asked)
}

function redirected(from: URL, location: string): URL {
  const fail = (why: string) => new StoreError('corrupt', `${shownUrl(from)}: redirected to ${why}`)
  if (!URL.canParse(location, from.href)) throw fail('something that is no URL')
  const to = new URL(location, from)
  if (to.protocol !== 'http:' && to.protocol !== 'https:') throw fail(`${to.protocol}, which is not followed`)
  if (from.protocol === 'https:' && to.protocol === 'http:')
    throw fail(`${shownUrl(to)}, which is not followed: it leaves the protection of https`)
  return to
}

function sameOrigin(a: URL, b: URL): boolean {
  return a.protocol === b.protocol && a.host === b.host
}

/** Another host has no business with what proves who we are. */
function withoutCredentials(request: HttpRequest): HttpRequest {
  const headers = Object.entries(request.headers ?? {}).filter(
    ([name]) => !['authorization', 'cookie'].includes(name.toLowerCase()),
  )
  return { ...request, headers: Object.fromEntries(headers) }
}
