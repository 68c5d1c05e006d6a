import { view } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { BUCKET_REFUSAL_BYTES_MAX, GCS_ANSWER_BYTES_MAX } from '../../support/limits.ts'
import { VERSION } from '../../support/version.ts'
import { type HttpClient, type HttpResponse, httpClient } from '../http-client.ts'
import type { Request, RequestPolicy } from '../requests.ts'
import { readHttpBody } from './body.ts'
import { type Bucket, bucketObjectStore, type Page } from './bucket.ts'
import type { BucketAddress } from './bucket-address.ts'
import { endpointUrl } from './bucket-options.ts'
import { connectionError, refusalError } from './failure.ts'
import { type GcsProof, openGcsProof } from './gcs-credentials.ts'
import type { ByteRange, ObjectStore } from './interface.ts'
import type { ObjectAnswer } from './range.ts'

/**
 * Objects in a bucket of Google Cloud Storage, by its JSON API. Without a service account in the address the
 * credentials come from where Google's libraries look for them: `GOOGLE_APPLICATION_CREDENTIALS`, those of gcloud,
 * the metadata server. Throws `unimplemented` when the package for that is missing, `invalid-argument` for a service
 * account that is none.
 */
export async function openGcsObjectStore(
  address: BucketAddress & { kind: 'gcs' },
  policy: Partial<RequestPolicy> = {},
): Promise<ObjectStore & Disposable> {
  const proof = await openGcsProof(address.options)
  return bucketObjectStore(new GcsBucket(address, proof), address.prefix, policy)
}

interface Listing {
  readonly kind?: string
  readonly items?: readonly ({ readonly name?: unknown } | null)[]
  readonly nextPageToken?: string
}

interface Call {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array
}

class GcsBucket implements Bucket {
  readonly name: string
  readonly #bucket: string
  readonly #base: URL
  readonly #proof: GcsProof
  readonly #userAgent: string
  // For tries see Requests. Its API redirects nobody.
  readonly #client: HttpClient = httpClient({ retryMs: [] }, { followsRedirects: false })

  constructor({ bucket, prefix, options }: BucketAddress & { kind: 'gcs' }, proof: GcsProof) {
    const { endpoint = 'https://storage.googleapis.com', allowHttp, userAgent } = options
    this.name = `gs://${bucket}/${prefix}`
    this.#bucket = encodeURIComponent(bucket)
    this.#base = endpointUrl(endpoint, allowHttp)
    this.#proof = proof
    this.#userAgent = userAgent ?? `tvix-store/${VERSION}`
  }

  async get(key: string, range: ByteRange | undefined, request: Request): Promise<ObjectAnswer | undefined> {
    const headers = range && { range: `bytes=${range.start}-${range.end - 1}` }
    const answer = await this.#send({ path: this.#object(key), query: { alt: 'media' }, headers }, request)
    if (isAbsent(answer)) return undefined
    const { status, headers: said } = answer
    if (status >= 300 && status !== 416) await expect(answer)
    return { status, contentRange: said['content-range'], bytes: await readHttpBody(answer.body, request) }
  }

  async head(key: string, request: Request): Promise<number | undefined> {
    const answer = await this.#send({ path: this.#object(key), query: { fields: 'size' } }, request)
    if (isAbsent(answer)) return undefined
    const { size } = await json<{ size?: string }>(answer)
    if (size === undefined || !/^\d+$/.test(size)) throw new StoreError('corrupt', 'the answer tells no size')
    return Number(size)
  }

  async put(key: string, body: Uint8Array, ifAbsent: boolean, request: Request): Promise<void> {
    const answer = await this.#send(
      {
        method: 'POST',
        path: `upload/storage/v1/b/${this.#bucket}/o`,
        // Generation 0 is that of no object.
        query: {
          uploadType: 'media',
          name: key,
          fields: 'size',
          ifGenerationMatch: ifAbsent ? '0' : undefined,
        },
        headers: { 'content-type': 'application/octet-stream' },
        body,
      },
      request,
    )
    if (ifAbsent && answer.status === 412) return answer.body.discard()
    await expect(answer, 200)
    answer.body.discard()
  }

  async page(prefix: string, cursor: string | undefined, request: Request): Promise<Page> {
    const fields = 'kind,items(name),nextPageToken'
    const answer = await this.#send(
      { path: this.#objects, query: { prefix, pageToken: cursor, fields } },
      request,
    )
    const { kind, items = [], nextPageToken } = await json<Listing>(answer)
    // Without objects it has nothing else.
    if (kind !== 'storage#objects' || !Array.isArray(items))
      throw new StoreError('corrupt', 'the answer is no listing')
    return { keys: items.map((item) => String(item?.name)), next: nextPageToken || undefined }
  }

  async delete(key: string, request: Request): Promise<void> {
    const answer = await this.#send({ method: 'DELETE', path: this.#object(key) }, request)
    if (isAbsent(answer)) return
    await expect(answer, 200, 204)
    answer.body.discard()
  }

  /** Who may not list may still read: 403 says that there is a bucket. */
  async checkExists(request: Request): Promise<void> {
    const answer = await this.#send(
      { path: this.#objects, query: { maxResults: '1', fields: 'kind' } },
      request,
    )
    await expect(answer, 200, 403)
    answer.body.discard()
  }

  explain(error: unknown): StoreError {
    return connectionError(error)
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]()
  }

  get #objects(): string {
    return `storage/v1/b/${this.#bucket}/o`
  }

  #object(key: string): string {
    return `${this.#objects}/${encodeURIComponent(key)}`
  }

  async #send(
    { method = 'GET', path, query = {}, headers, body }: Call,
    { signal }: Request,
  ): Promise<HttpResponse> {
    const url = new URL(path, this.#base)
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, value)
    return await this.#client.request(url, {
      method,
      headers: { ...(await this.#proof()), ...headers, 'user-agent': this.#userAgent },
      signal,
      ...(body && { body }),
    })
  }
}

/** A bucket that does not exist answers so, too: see `checkExists`. */
function isAbsent(answer: HttpResponse): boolean {
  if (answer.status !== 404) return false
  answer.body.discard()
  return true
}

async function json<T>(answer: HttpResponse): Promise<T> {
  await expect(answer, 200)
  try {
    const value: unknown = JSON.parse(view(await answer.body.bytes(GCS_ANSWER_BYTES_MAX)).toString('utf8'))
    if (typeof value === 'object' && value !== null) return value as T
  } catch (error) {
    if (error instanceof StoreError) throw error
  }
  throw new StoreError('corrupt', 'the answer is no JSON')
}

async function expect(answer: HttpResponse, ...statuses: readonly number[]): Promise<void> {
  if (statuses.includes(answer.status)) return
  const text = await answer.body.reason(BUCKET_REFUSAL_BYTES_MAX)
  throw refusalError({
    status: answer.status,
    ...reasonOf(text),
    requestId: String(answer.headers['x-guploader-uploadid'] ?? '').slice(0, 32) || undefined,
  })
}

/** Errors are JSON as a rule, and a line of text for uploads. */
function reasonOf(text: string): { reason?: string | undefined; message?: string | undefined } {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string; errors?: { reason?: string }[] } }
    return { reason: error?.errors?.[0]?.reason, message: error?.message }
  } catch {
    return { message: text }
  }
}
