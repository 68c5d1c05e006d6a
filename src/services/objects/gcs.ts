import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ApiError, Storage, StorageOptions } from '@google-cloud/storage'
import { StoreError } from '../../support/errors.ts'
import { BUCKET_PUT_BYTES_MAX, BUCKET_SILENCE_MS_MAX } from '../../support/limits.ts'
import { VERSION } from '../../support/version.ts'
import type { Request, RequestPolicy } from '../requests.ts'
import { importSdk } from '../sdk.ts'
import { readBody } from './body.ts'
import { type Bucket, bucketObjectStore, type Page } from './bucket.ts'
import type { BucketAddress } from './bucket-address.ts'
import { endpointUrl, type GcsOptions, isOn } from './bucket-options.ts'
import { connectionError, refusalError } from './failure.ts'
import type { ByteRange, ObjectStore } from './interface.ts'

/**
 * Objects in a bucket of Google Cloud Storage. Without a service account in the address the credentials come from
 * where the SDK looks for them: `GOOGLE_APPLICATION_CREDENTIALS`, those of gcloud, the metadata server. Throws
 * `unimplemented` when the SDK is missing, `invalid-argument` for a service account that is none.
 */
export async function openGcsObjectStore(
  address: BucketAddress & { kind: 'gcs' },
  policy: Partial<RequestPolicy> = {},
): Promise<ObjectStore & Disposable> {
  const sdk = await importSdk('@google-cloud/storage', () => import('@google-cloud/storage'))
  const storage = new sdk.Storage(storageOptions(address.options))
  return bucketObjectStore(new GcsBucket(storage, address), address.prefix, policy)
}

function storageOptions(options: GcsOptions): StorageOptions {
  const { endpoint, serviceAccountFile, serviceAccountKey, skipSignature, allowHttp } = options
  const anonymous = isOn('skip_signature', skipSignature)
  const apiEndpoint = endpoint === undefined ? undefined : endpointUrl(endpoint, allowHttp).href
  return {
    ...(serviceAccountFile !== undefined && { keyFilename: serviceAccountFile }),
    ...(serviceAccountKey !== undefined && { credentials: parseKey(serviceAccountKey) }),
    // The SDK signs nothing that it sends to an endpoint it was told of, unless it is told that as well.
    ...((apiEndpoint ?? anonymous) && {
      apiEndpoint: apiEndpoint ?? 'https://storage.googleapis.com',
      useAuthWithCustomEndpoint: !anonymous,
    }),
    projectId: 'unused', // objects are named by their bucket; finding out would ask the metadata server
    timeout: BUCKET_SILENCE_MS_MAX,
    retryOptions: { autoRetry: false, maxRetries: 0 }, // see Requests
    userAgent: options.userAgent ?? `tvix-store/${VERSION}`,
  }
}

function parseKey(text: string): NonNullable<StorageOptions['credentials']> {
  try {
    return JSON.parse(text)
  } catch {
    throw new StoreError('invalid-argument', 'google_service_account_key is no JSON') // and not to be shown
  }
}

class GcsBucket implements Bucket {
  readonly name: string
  readonly #bucket: ReturnType<Storage['bucket']>

  constructor(storage: Storage, { bucket, prefix }: BucketAddress & { kind: 'gcs' }) {
    this.name = `gs://${bucket}/${prefix}`
    this.#bucket = storage.bucket(bucket)
  }

  async get(key: string, range: ByteRange | undefined, request: Request): Promise<Uint8Array | undefined> {
    const part = range && { start: range.start, end: range.end - 1 }
    const body = this.#bucket.file(key).createReadStream({ ...part, validation: false, decompress: false })
    let length: number | undefined
    body.once('response', (response: { headers?: Record<string, string> }) => {
      const text = response.headers?.['content-length']
      if (text !== undefined) length = Number(text)
      request.progress()
    })
    try {
      const bytes = await readBody(body as unknown as Readable, undefined, request)
      if (length !== undefined && bytes.length !== length)
        throw new StoreError('unavailable', `the answer broke off after ${bytes.length} of ${length} bytes`)
      return bytes
    } catch (error) {
      if (statusOf(error) === 416) return new Uint8Array(0)
      return absent(error)
    }
  }

  async head(key: string): Promise<number | undefined> {
    try {
      const [metadata] = await this.#bucket.file(key).getMetadata()
      return Number(metadata.size ?? 0)
    } catch (error) {
      return absent(error)
    }
  }

  async put(key: string, body: Uint8Array, ifAbsent: boolean, request: Request): Promise<void> {
    const sink = this.#bucket.file(key).createWriteStream({
      resumable: body.length > BUCKET_PUT_BYTES_MAX,
      validation: false, // TLS protects it on its way, and every reader compares it with its digest
      contentType: 'application/octet-stream',
      ...(ifAbsent && { preconditionOpts: { ifGenerationMatch: 0 } }),
    })
    sink.on('progress', () => request.progress())
    try {
      await pipeline([Buffer.from(body.buffer, body.byteOffset, body.length)], sink, {
        signal: request.signal,
      })
    } catch (error) {
      if (!ifAbsent || statusOf(error) !== 412) throw error
    }
  }

  async page(prefix: string, cursor: string | undefined): Promise<Page> {
    const [files, next] = await this.#bucket.getFiles({
      prefix,
      autoPaginate: false,
      ...(cursor && { pageToken: cursor }),
    })
    const token = (next as { pageToken?: string } | null)?.pageToken
    return { keys: files.map(({ name }) => name), next: token || undefined }
  }

  async delete(key: string): Promise<void> {
    try {
      await this.#bucket.file(key).delete()
    } catch (error) {
      absent(error)
    }
  }

  /** Who may not list may still read: 403 says that there is a bucket. */
  async checkExists(): Promise<void> {
    try {
      await this.#bucket.getFiles({ maxResults: 1, autoPaginate: false })
    } catch (error) {
      if (statusOf(error) !== 403) throw error
    }
  }

  explain(error: unknown): StoreError {
    if (error instanceof StoreError) return error
    const { errors, message } = error as Partial<ApiError>
    const status = statusOf(error)
    if (status !== undefined) return refusalError({ status, reason: errors?.[0]?.reason, message })
    if (message?.includes('Could not load the default credentials'))
      return new StoreError(
        'denied',
        'no credentials: set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or log in with gcloud auth application-default login, or add ?google_skip_signature=true for a public bucket',
      )
    return connectionError(error)
  }

  [Symbol.dispose](): void {}
}

/** `undefined` for an answer that says that there is no such object; throws the error again if it says otherwise. */
function absent(error: unknown): undefined {
  if (statusOf(error) === 404) return undefined
  throw error
}

function statusOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown }
  return typeof code === 'number' ? code : undefined
}
