import type { S3Client } from '@aws-sdk/client-s3'
import type { BufferRooms } from '../../support/buffer-rooms.ts'
import { view } from '../../support/bytes.ts'
import type { StoreError } from '../../support/errors.ts'
import { BUCKET_OBJECT_BYTES_MAX } from '../../support/limits.ts'
import { HttpGets, type HttpGot, type Undici } from '../http-gets.ts'
import type { Request } from '../requests.ts'
import { refusalError } from './failure.ts'
import type { ByteRange } from './interface.ts'
import type { ObjectAnswer } from './range.ts'
import { S3ReadSigner } from './s3-signature.ts'

/** Where the SDK asked for an object, and how it proved who asks. */
interface Target {
  readonly server: URL
  /** Of the path, what is before the key. */
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
 * or being absent, or a server that cannot now, is not for here to understand: then the SDK is asked.
 */
export class S3Reads {
  readonly #client: S3Client
  readonly #undici: Undici
  readonly #userAgent: string
  #target: Target | 'unknown' | 'not like others' = 'unknown'
  #gets: HttpGets | undefined

  constructor(client: S3Client, undici: Undici, userAgent: string) {
    this.#client = client
    this.#undici = undici
    this.#userAgent = userAgent
    client.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const answer = await next(args)
          const { Key } = args.input as { Key?: string }
          if (this.#target === 'unknown' && commandName === 'GetObjectCommand' && Key !== undefined)
            this.#learn(args.request as SentRequest, Key)
          return answer
        },
      // Around what makes an error of a refusal: who is sent elsewhere has not found where the bucket is.
      { step: 'deserialize', priority: 'high', name: 'tvixStoreLearnReads' },
    )
  }

  /** `undefined`: the SDK is to be asked. */
  async get(
    key: string,
    range: ByteRange | undefined,
    request: Request,
    rooms?: BufferRooms,
  ): Promise<S3Found | undefined> {
    const target = this.#target
    const gets = this.#gets
    if (typeof target === 'string' || !gets) return undefined
    const path = target.base + encodeKey(key)
    const headers = {
      'user-agent': this.#userAgent,
      'accept-encoding': 'identity',
      ...(await this.#headers(path, range, target)),
    }
    const got = await gets.get({ path, headers, bytesMax: BUCKET_OBJECT_BYTES_MAX, rooms }, request)
    const { status, bytes } = got
    if (status === 200 || status === 206)
      return { answer: { status, contentRange: got.headers.get('content-range'), bytes } }
    const text = view(bytes).toString('utf8')
    rooms?.giveBack(bytes)
    if (status === 429 || status >= 500) throw refused(got, text)
    // By the code: 404 is also the answer for a bucket that does not exist.
    return status === 404 && text.includes('<Code>NoSuchKey</Code>') ? { answer: undefined } : undefined
  }

  [Symbol.dispose](): void {
    this.#gets?.[Symbol.dispose]()
  }

  #learn(request: SentRequest, key: string): void {
    // What the SDK asks by way of a proxy stays with it.
    const target = mayHaveProxy(request.protocol) ? undefined : targetOf(request, key)
    this.#target = target ?? 'not like others'
    if (target) this.#gets = new HttpGets(target.server, this.#undici)
  }

  async #headers(
    pathname: string,
    range: ByteRange | undefined,
    { signer, server: { host } }: Target,
  ): Promise<Readonly<Record<string, string>>> {
    const bytes = range && `bytes=${range.start}-${range.end - 1}`
    if (!signer) return bytes === undefined ? {} : { range: bytes }
    const { credentials, systemClockOffset } = this.#client.config
    // When the clock is wrong, the SDK has found out.
    const now = new Date(Date.now() + systemClockOffset)
    return signer.headers({ host, pathname }, bytes, await credentials(), now)
  }
}

/** To ask the SDK as well would be two requests of a server that has too many. */
function refused({ status, headers }: HttpGot, text: string): StoreError {
  return refusalError({
    status,
    reason: /<Code>([^<]*)<\/Code>/.exec(text)?.[1],
    message: /<Message>([^<]*)<\/Message>/.exec(text)?.[1],
    requestId: headers.get('x-amz-request-id'),
    retryAfter: headers.get('retry-after'),
  })
}

/** `undefined` for what is signed in another way (S3 Express, several regions) or is no plain path. */
function targetOf(request: SentRequest, key: string): Target | undefined {
  const { protocol, hostname, port, path, headers } = request
  const encoded = encodeKey(key)
  const server = URL.parse(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}`)
  if (!server || !path.endsWith(encoded) || new URL(path, server).pathname !== path) return undefined
  const base = path.slice(0, -encoded.length)
  const { authorization } = headers
  if (authorization === undefined) return { server, base, signer: undefined }
  const region = /^AWS4-HMAC-SHA256 Credential=[^/]+\/[0-9]{8}\/([^/]+)\/s3\/aws4_request,/.exec(
    authorization,
  )?.[1]
  return region === undefined ? undefined : { server, base, signer: new S3ReadSigner(region) }
}

/** By what the SDK's agents heed; `no_proxy` is for them to read. */
function mayHaveProxy(protocol: string): boolean {
  const name = protocol === 'https:' ? 'https_proxy' : 'http_proxy'
  return Boolean(process.env[name] || process.env[name.toUpperCase()])
}

/** As S3 has it: all but unreserved characters (RFC 3986 §2.3), and the slashes. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/')
}
