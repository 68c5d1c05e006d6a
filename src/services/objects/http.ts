import { printable, utf8 } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { WEBDAV_LISTING_BYTES_MAX } from '../../support/limits.ts'
import { VERSION } from '../../support/version.ts'
import { BusyStatusError, type HttpClient, type HttpResponse, httpClient } from '../http-client.ts'
import { shownUrl } from '../http-error.ts'
import type { Request, RequestPolicy } from '../requests.ts'
import { readHttpBody } from './body.ts'
import { type Bucket, bucketObjectStore, type Page } from './bucket.ts'
import { type BucketAddress, decodePercent } from './bucket-address.ts'
import { isOn } from './bucket-options.ts'
import { connectionError, refusalError } from './failure.ts'
import type { ByteRange, ObjectStore } from './interface.ts'
import type { ObjectAnswer } from './range.ts'
import { parseMultiStatus } from './webdav-listing.ts'

/**
 * Objects on a web server (RFC 9110): read from any, written, listed and deleted where it speaks WebDAV (RFC 4918).
 * A user and a password in the URL are sent with every request (Basic). An empty folder cannot be told from an
 * address with a typing error.
 */
export function openHttpObjectStore(
  address: BucketAddress & { kind: 'http' },
  policy: Partial<RequestPolicy> = {},
): ObjectStore & Disposable {
  return bucketObjectStore(new HttpBucket(address), '', policy)
}

type Method = 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'MKCOL' | 'PROPFIND'

class HttpBucket implements Bucket {
  readonly name: string
  readonly #base: URL
  readonly #client: HttpClient = httpClient({ retryMs: [] }) // see Requests
  readonly #headers: Readonly<Record<string, string>>

  constructor({ url, options }: BucketAddress & { kind: 'http' }) {
    const base = new URL(url)
    const { username, password } = base
    base.username = base.password = ''
    const user = `${decodePercent(username)}:${decodePercent(password)}`
    const isSecret = username !== '' || password !== ''
    if (isSecret && base.protocol === 'http:' && !isOn('allow_http', options.allowHttp))
      throw new StoreError(
        'invalid-argument',
        'it would send a password in the clear: add ?allow_http=true if you mean it',
      )
    this.#base = base
    this.name = shownUrl(base)
    this.#headers = {
      'user-agent': options.userAgent ?? `tvix-store/${VERSION}`,
      ...(isSecret && { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
    }
  }

  async get(key: string, range: ByteRange | undefined, request: Request): Promise<ObjectAnswer | undefined> {
    const headers = range && { range: `bytes=${range.start}-${range.end - 1}` }
    const answer = await this.#request('GET', key, request, headers)
    if (this.#isAbsent(answer, key)) return undefined
    const { status, headers: said } = answer
    if (status >= 300 && status !== 416) throw refused(answer)
    return { status, contentRange: said['content-range'], bytes: await readHttpBody(answer.body, request) }
  }

  async head(key: string, request: Request): Promise<number | undefined> {
    const answer = await this.#request('HEAD', key, request)
    if (this.#isAbsent(answer, key)) return undefined
    if (answer.status !== 200) throw refused(answer)
    // Unlike an object, an answer without a body has nothing that would be found out later.
    this.#checkPlace(answer, key)
    const length = answer.headers['content-length']
    // Apache leaves it out for what is empty, others for what they make up as they go.
    if (length === undefined) return (await this.get(key, undefined, request))?.bytes.length
    return discarded(answer, Number(length))
  }

  /** Asks first: few servers heed the condition, and where they do not the object would be sent for nothing. */
  async put(key: string, body: Uint8Array, ifAbsent: boolean, request: Request): Promise<void> {
    if (ifAbsent && (await this.head(key, request)) !== undefined) return
    const headers = {
      'content-type': 'application/octet-stream',
      ...(ifAbsent && { 'if-none-match': '*' }),
    }
    let answer = await this.#request('PUT', key, request, headers, body)
    if (answer.status === 409 || answer.status === 404) {
      answer.body.discard()
      await this.#makeFolders(key, request)
      answer = await this.#request('PUT', key, request, headers, body)
    }
    if (ifAbsent && answer.status === 412) return answer.body.discard()
    if (answer.status === 405) throw readOnly(answer)
    if (answer.status >= 300) throw refused(answer)
    answer.body.discard()
  }

  /** `cursor`: the folders still to be listed, one a line. */
  async page(prefix: string, cursor: string | undefined, request: Request): Promise<Page> {
    const [folder = '', ...rest] = cursor?.split('\n') ?? [prefix.slice(0, prefix.lastIndexOf('/') + 1)]
    const found = await this.#list(folder, request)
    const folders = found.filter(
      (each) => each.isFolder && (each.key.startsWith(prefix) || prefix.startsWith(each.key)),
    )
    const pending = [...folders.map(({ key }) => key), ...rest]
    return {
      keys: found.filter(({ isFolder, key }) => !isFolder && key.startsWith(prefix)).map(({ key }) => key),
      next: pending.length === 0 ? undefined : pending.join('\n'),
    }
  }

  async delete(key: string, request: Request): Promise<void> {
    const answer = await this.#request('DELETE', key, request)
    if (this.#isAbsent(answer, key)) return
    if (answer.status === 405) throw readOnly(answer)
    if (answer.status >= 300) throw refused(answer)
    answer.body.discard()
  }

  async checkExists(): Promise<void> {}

  explain(error: unknown): StoreError {
    // 501 and 505 are no business of the server's health; static servers answer so to whatever they do not know.
    if (error instanceof BusyStatusError && !error.isWorthATry)
      return new StoreError('precondition', `${READ_ONLY_REASON}: ${error.message}`)
    return connectionError(error)
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]()
  }

  /** Servers lead a request for a folder to the name with a slash, whatever they answer there. */
  #isAbsent(answer: HttpResponse, key: string): boolean {
    const isFolder = answer.url.href === `${new URL(key, this.#base).href}/`
    if (answer.status !== 404 && answer.status !== 410 && !isFolder) return false
    if (!isFolder) this.#checkPlace(answer, key)
    answer.body.discard()
    return true
  }

  /** A redirect to a place of another name leads to a login page, or one that says sorry. */
  #checkPlace(answer: HttpResponse, key: string): void {
    if (basename(answer.url) === basename(new URL(key, this.#base))) return
    answer.body.discard()
    const where = `${shownUrl(answer.url)}, which is something else (a login page?)`
    throw new StoreError('precondition', `the server redirects to ${where}`)
  }

  async #list(folder: string, request: Request): Promise<{ key: string; isFolder: boolean }[]> {
    const answer = await this.#request('PROPFIND', folder, request, { depth: '1' })
    if (answer.status === 404) {
      answer.body.discard()
      return []
    }
    if (answer.status === 405) {
      answer.body.discard()
      throw new StoreError('unimplemented', 'the server does not list, it speaks no WebDAV (HTTP status 405)')
    }
    if (answer.status !== 207) throw refused(answer)
    const text = Buffer.from(await answer.body.bytes(WEBDAV_LISTING_BYTES_MAX)).toString('utf8')
    const base = decodePercent(this.#base.pathname)
    const found = parseMultiStatus(text, new URL(folder, this.#base))
    // Every listing has the folder itself. What is said of another place must not look like an empty one.
    if (!found.some(({ path }) => path.startsWith(base)))
      throw new StoreError('corrupt', `the server lists nothing that is below ${printable(utf8(base))}`)
    return found.flatMap(({ path, isFolder }) => {
      const key = path.startsWith(base) ? path.slice(base.length) : ''
      // Only what is below, or a listing of wrong answers would never end.
      return key !== folder && key.startsWith(folder) ? [{ key, isFolder }] : []
    })
  }

  /** Makes every folder above an object, those of the address too: they need not exist, as prefixes need not. */
  async #makeFolders(key: string, request: Request): Promise<void> {
    const { pathname } = new URL(key, this.#base)
    for (let slash = pathname.indexOf('/', 1); slash > 0; slash = pathname.indexOf('/', slash + 1)) {
      const answer = await this.#request('MKCOL', pathname.slice(0, slash + 1), request)
      // It is there already (405), or cannot be made: then the put will say so.
      answer.body.discard()
    }
  }

  #request(
    method: Method,
    key: string,
    request: Request,
    headers: Readonly<Record<string, string>> = {},
    body?: Uint8Array,
  ): Promise<HttpResponse> {
    return this.#client.request(new URL(key, this.#base), {
      method,
      headers: { ...this.#headers, ...headers },
      signal: request.signal,
      ...(body && { body }),
    })
  }
}

function basename({ pathname }: URL): string {
  return pathname.slice(pathname.lastIndexOf('/') + 1)
}

function discarded<T>(answer: HttpResponse, value: T): T {
  answer.body.discard()
  return value
}

function refused(answer: HttpResponse): StoreError {
  answer.body.discard()
  return refusalError({ status: answer.status })
}

const READ_ONLY_REASON = 'the server is read-only, it speaks no WebDAV'

function readOnly(answer: HttpResponse): StoreError {
  answer.body.discard()
  return new StoreError('precondition', `${READ_ONLY_REASON} (HTTP status ${answer.status})`)
}
