import type { Readable } from 'node:stream'
import type { ListObjectsV2CommandOutput, S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import type { BufferRooms } from '../../support/buffer-rooms.ts'
import { StoreError } from '../../support/errors.ts'
import type { Request, RequestPolicy } from '../requests.ts'
import { importSdk } from '../sdk.ts'
import { readBody } from './body.ts'
import { type Bucket, bucketObjectStore, type Page, type PartedUploads } from './bucket.ts'
import type { BucketAddress } from './bucket-address.ts'
import { connectionError, credentialsError, refusalError } from './failure.ts'
import type { ByteRange, ObjectStore } from './interface.ts'
import { BEYOND_THE_END, type ObjectAnswer } from './range.ts'
import { EXPIRED, openS3Client, userAgentOf } from './s3-client.ts'
import { S3Reads } from './s3-reads.ts'

type Sdk = typeof import('@aws-sdk/client-s3')

/**
 * Objects in a bucket of S3, or of what speaks like it. Without keys in the address the credentials come from where
 * the AWS SDK looks for them: environment, shared files and their profiles, SSO, web identity, container and
 * instance. Throws `unimplemented` when the SDK is missing.
 */
export async function openS3ObjectStore(
  address: BucketAddress & { kind: 's3' },
  policy: Partial<RequestPolicy> = {},
): Promise<ObjectStore & Disposable> {
  const sdk = await importSdk('@aws-sdk/client-s3', () => import('@aws-sdk/client-s3'))
  const undici = await importSdk('undici', () => import('undici'))
  const client = openS3Client(sdk, address.options)
  const reads = new S3Reads(client, undici, userAgentOf(address.options))
  return bucketObjectStore(new S3Bucket(sdk, client, reads, address), address.prefix, policy)
}

interface S3Upload {
  readonly key: string
  readonly id: string
}

interface S3Part {
  readonly PartNumber: number
  readonly ETag: string | undefined
}

class S3Bucket implements Bucket {
  readonly name: string
  readonly #sdk: Sdk
  readonly #client: S3Client
  readonly #reads: S3Reads
  readonly #bucket: string
  readonly #profile: string | undefined
  /** Some servers do not know conditional puts; the first refusal tells. */
  #isConditional = true

  constructor(
    sdk: Sdk,
    client: S3Client,
    reads: S3Reads,
    { bucket, prefix, options }: BucketAddress & { kind: 's3' },
  ) {
    this.name = `s3://${bucket}/${prefix}`
    this.#sdk = sdk
    this.#client = client
    this.#reads = reads
    this.#bucket = bucket
    this.#profile = options.profile
  }

  async get(
    key: string,
    range: ByteRange | undefined,
    request: Request,
    rooms?: BufferRooms,
  ): Promise<ObjectAnswer | undefined> {
    const found = await this.#reads.get(key, range, request, rooms)
    if (found) return found.answer
    const Range = range && `bytes=${range.start}-${range.end - 1}`
    const command = new this.#sdk.GetObjectCommand({ ...this.#at(key), ...(Range && { Range }) })
    try {
      const answer = await this.#client.send(command, { abortSignal: request.signal })
      const { Body, ContentLength, ContentRange: contentRange, $metadata } = answer
      const bytes = await readBody(Body as Readable, ContentLength, request)
      return { status: $metadata.httpStatusCode ?? 0, contentRange, bytes }
    } catch (error) {
      if (statusOf(error) === 416) return BEYOND_THE_END
      return absent(error, 'NoSuchKey')
    }
  }

  async head(key: string, { signal }: Request): Promise<number | undefined> {
    try {
      const command = new this.#sdk.HeadObjectCommand(this.#at(key))
      const { ContentLength } = await this.#client.send(command, { abortSignal: signal })
      return ContentLength ?? 0
    } catch (error) {
      return absent(error, 'NotFound')
    }
  }

  async put(key: string, body: Uint8Array, ifAbsent: boolean, request: Request): Promise<void> {
    const condition = await this.#condition(key, ifAbsent, request)
    if (condition === 'exists') return
    const command = new this.#sdk.PutObjectCommand({
      ...this.#at(key),
      ...condition,
      Body: body,
      ContentLength: body.length,
      ContentType: CONTENT_TYPE,
    })
    await this.#unlessPresent(ifAbsent, () => this.#client.send(command, { abortSignal: request.signal }))
  }

  readonly parts: PartedUploads<S3Upload, S3Part> = {
    start: async (key, { signal }) => {
      const command = new this.#sdk.CreateMultipartUploadCommand({
        ...this.#at(key),
        ContentType: CONTENT_TYPE,
      })
      const { UploadId } = await this.#client.send(command, { abortSignal: signal })
      if (!UploadId) throw new StoreError('corrupt', 'the server began an upload without a name')
      return { key, id: UploadId }
    },
    part: async ({ key, id }, PartNumber, bytes, { signal }) => {
      const command = new this.#sdk.UploadPartCommand({
        ...this.#at(key),
        UploadId: id,
        PartNumber,
        Body: bytes,
        ContentLength: bytes.length,
      })
      const { ETag } = await this.#client.send(command, { abortSignal: signal })
      return { PartNumber, ETag }
    },
    complete: async ({ key, id }, parts, ifAbsent, request) => {
      const condition = await this.#condition(key, ifAbsent, request)
      const command = new this.#sdk.CompleteMultipartUploadCommand({
        ...this.#at(key),
        ...(condition === 'exists' ? {} : condition),
        UploadId: id,
        MultipartUpload: { Parts: [...parts] },
      })
      const complete = () => this.#client.send(command, { abortSignal: request.signal })
      try {
        if (!(await this.#unlessPresent(ifAbsent, complete))) await this.parts.abandon({ key, id }, request)
      } catch (error) {
        // Completed already, by a request whose answer was lost.
        const isGone = ifAbsent && (error as Error).name === 'NoSuchUpload'
        if (!isGone || (await this.head(key, request)) === undefined) throw error
      }
    },
    abandon: async ({ key, id }, { signal }) => {
      const command = new this.#sdk.AbortMultipartUploadCommand({ ...this.#at(key), UploadId: id })
      await this.#client.send(command, { abortSignal: signal })
    },
  }

  async page(prefix: string, cursor: string | undefined, { signal }: Request): Promise<Page> {
    const command = new this.#sdk.ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: prefix,
      ...(cursor && { ContinuationToken: cursor }),
    })
    const answer = await this.#client.send(command, { abortSignal: signal })
    checkListing(answer)
    const { Contents, IsTruncated, NextContinuationToken } = answer
    if (IsTruncated && !NextContinuationToken)
      throw new StoreError('corrupt', 'the listing stops in the middle')
    return {
      keys: (Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key])),
      next: IsTruncated ? NextContinuationToken : undefined,
    }
  }

  async delete(key: string, { signal }: Request): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(key)), { abortSignal: signal })
    } catch (error) {
      absent(error, 'NoSuchKey')
    }
  }

  /** Who may not list may still read: 403 says that there is a bucket. */
  async checkExists({ signal }: Request): Promise<void> {
    const command = new this.#sdk.ListObjectsV2Command({ Bucket: this.#bucket, MaxKeys: 1 })
    try {
      checkListing(await this.#client.send(command, { abortSignal: signal }))
    } catch (error) {
      if (statusOf(error) !== 403) throw error
    }
  }

  explain(error: unknown, hasWorked: boolean): StoreError {
    if (error instanceof StoreError) return error
    const { name, message, $metadata, $response } = error as S3ServiceException
    const status = $metadata?.httpStatusCode
    if (status !== undefined && status >= 300) {
      const retryAfter = ($response as { headers?: Record<string, string> } | undefined)?.headers?.[
        'retry-after'
      ]
      // A clock that is wrong is set right by the SDK, for the next try.
      const isSkew = name === 'RequestTimeTooSkewed' || name === 'RequestTimeout'
      return refusalError({
        status,
        means: isSkew ? 408 : NOT_ACCEPTED.has(name) ? 401 : status,
        reason: name,
        message,
        requestId: $metadata.requestId,
        retryAfter,
      })
    }
    if (name === 'CredentialsProviderError')
      return credentialsError(
        error,
        hasWorked,
        this.#profile === undefined
          ? NO_CREDENTIALS_HINT
          : `is there a profile ${this.#profile} in ~/.aws/config or ~/.aws/credentials?`,
      )
    if (message === 'Region is missing')
      return new StoreError(
        'invalid-argument',
        'no region: set AWS_REGION or add ?aws_region=NAME to the address',
      )
    return connectionError(error)
  }

  [Symbol.dispose](): void {
    this.#client.destroy()
    this.#reads[Symbol.dispose]()
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: key }
  }

  /** What a put says to leave an object alone; without conditional puts, whether there is one. */
  async #condition(
    key: string,
    ifAbsent: boolean,
    request: Request,
  ): Promise<{ IfNoneMatch?: '*' } | 'exists'> {
    if (!ifAbsent) return {}
    if (this.#isConditional) return { IfNoneMatch: '*' }
    return (await this.head(key, request)) === undefined ? {} : 'exists'
  }

  /** False when it was there already. */
  async #unlessPresent(ifAbsent: boolean, put: () => Promise<unknown>): Promise<boolean> {
    try {
      await put()
      return true
    } catch (error) {
      if (!ifAbsent) throw error
      if (statusOf(error) === 412) return false
      if (statusOf(error) === 501 && this.#isConditional) {
        this.#isConditional = false
        throw new StoreError('unavailable', 'the server knows no conditional puts')
      }
      throw error
    }
  }
}

const NO_CREDENTIALS_HINT =
  'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile (?aws_profile=NAME), or add ?aws_skip_signature=true for a public bucket'

/** Servers send these with several statuses. */
const NOT_ACCEPTED = new Set([...['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'InvalidToken', ...EXPIRED]])

/** What is stored is for others to know. */
const CONTENT_TYPE = 'application/octet-stream'

/** The SDK makes an empty listing of whatever document it gets, and of none. */
function checkListing({ Name, IsTruncated, KeyCount }: ListObjectsV2CommandOutput): void {
  if (Name === undefined && IsTruncated === undefined && KeyCount === undefined)
    throw new StoreError('corrupt', 'the answer is no listing')
}

/**
 * `undefined` for an answer that says that there is no such object; throws the error again if it says otherwise. `code`:
 * the SDK makes `NotFound` of a 404 without a word of S3's, which only HEAD may have. For the others that is the page of
 * somebody in between, and `NoSuchBucket` is a 404, too.
 */
function absent(error: unknown, code: 'NoSuchKey' | 'NotFound'): undefined {
  if (statusOf(error) === 404 && (error as Error).name === code) return undefined
  throw error
}

function statusOf(error: unknown): number | undefined {
  return (error as Partial<S3ServiceException>).$metadata?.httpStatusCode
}
