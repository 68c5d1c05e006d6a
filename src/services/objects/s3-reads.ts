import type { S3Client } from '@aws-sdk/client-s3'
import { BUCKET_REFUSAL_BYTES_MAX } from '../../support/limits.ts'
import { type HttpClient, httpClient } from '../http-client.ts'
import type { Request } from '../requests.ts'
import { readHttpBody } from './body.ts'
import type { ByteRange } from './interface.ts'
import type { ObjectAnswer } from './range.ts'
import { S3ReadSigner } from './s3-signature.ts'

/** Where the SDK asked for an object, and how it proved who asks. */
interface Target {
  /** With all of the path that is before the key. */
  readonly base: string
  /** `undefined` for buckets that are read without a signature. */
  readonly signer: S3ReadSigner | undefined
}

/** A request as the SDK's handler gets it. */
interface SentRequest {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** `undefined` inside: there is no such object. */
export interface S3Found {
  readonly answer: ObjectAnswer | undefined
}

/**
 * Reads objects past the SDK, which takes 1.2 ms of CPU for one of 256 KiB. What it decides is learnt from it: where a bucket is and
 * how it is spoken to from its first read, and the credentials each time. Whatever else happens than an object coming
 * or being absent is not for here to understand: then the SDK is asked.
 */
export class S3Reads {
  readonly #client: S3Client
  readonly #userAgent: string
  // Tries are the business of Requests. The SDK uses no proxies, and knows what redirects of S3 mean.
  readonly #http: HttpClient = httpClient({ retryMs: [] }, { usesProxies: false, followsRedirects: false })
  #target: Target | 'unknown' | 'not like others' = 'unknown'

  constructor(client: S3Client, userAgent: string) {
    this.#client = client
    this.#userAgent = userAgent
    client.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          const { Key } = args.input as { Key?: string }
          if (this.#target === 'unknown' && commandName === 'GetObjectCommand' && Key !== undefined)
            this.#target = targetOf(args.request as SentRequest, Key) ?? 'not like others'
          return next(args)
        },
      { step: 'deserialize', name: 'tvixStoreLearnReads' },
    )
  }

  /** `undefined`: the SDK is to be asked. */
  async get(key: string, range: ByteRange | undefined, request: Request): Promise<S3Found | undefined> {
    const target = this.#target
    if (typeof target === 'string') return undefined
    const url = new URL(target.base + encodeKey(key))
    const answer = await this.#http.request(url, {
      headers: { 'user-agent': this.#userAgent, ...(await this.#headers(url, range, target)) },
      signal: request.signal,
    })
    const { status, headers } = answer
    if (status === 200 || status === 206) {
      const bytes = await readHttpBody(answer.body, request)
      return { answer: { status, contentRange: headers['content-range'], bytes } }
    }
    const text = await answer.body.reason(BUCKET_REFUSAL_BYTES_MAX)
    // By the code: 404 is also the answer for a bucket that does not exist.
    return status === 404 && text.includes('<Code>NoSuchKey</Code>') ? { answer: undefined } : undefined
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]()
  }

  async #headers(
    url: URL,
    range: ByteRange | undefined,
    { signer }: Target,
  ): Promise<Readonly<Record<string, string>>> {
    const bytes = range && `bytes=${range.start}-${range.end - 1}`
    if (!signer) return bytes === undefined ? {} : { range: bytes }
    const { credentials, systemClockOffset } = this.#client.config
    // When the clock is wrong, the SDK has found out.
    return signer.headers(url, bytes, await credentials(), new Date(Date.now() + systemClockOffset))
  }
}

/** `undefined` for what is signed in another way (S3 Express, several regions) or is no plain path. */
function targetOf(request: SentRequest, key: string): Target | undefined {
  const { protocol, hostname, port, path, headers } = request
  const encoded = encodeKey(key)
  const base = `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path.slice(0, -encoded.length)}`
  if (!path.endsWith(encoded) || new URL(base + encoded).pathname !== path) return undefined
  const { authorization } = headers
  if (authorization === undefined) return { base, signer: undefined }
  const region = /^AWS4-HMAC-SHA256 Credential=[^/]+\/[0-9]{8}\/([^/]+)\/s3\/aws4_request,/.exec(
    authorization,
  )?.[1]
  return region === undefined ? undefined : { base, signer: new S3ReadSigner(region) }
}

/** As S3 has it: all but unreserved characters (RFC 3986 §2.3), and the slashes. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/')
}
