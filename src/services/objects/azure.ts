import type { Readable } from 'node:stream'
import type { TokenCredential } from '@azure/identity'
import type {
  AnonymousCredential,
  ContainerClient,
  RestError,
  StoragePipelineOptions,
  StorageSharedKeyCredential,
} from '@azure/storage-blob'
import { StoreError } from '../../support/errors.ts'
import { VERSION } from '../../support/version.ts'
import type { Request, RequestPolicy } from '../requests.ts'
import { importSdk } from '../sdk.ts'
import { readBody } from './body.ts'
import { type Bucket, bucketObjectStore, type Page, type PartedUploads } from './bucket.ts'
import type { BucketAddress } from './bucket-address.ts'
import { type AzureOptions, endpointUrl, isOn } from './bucket-options.ts'
import { connectionError, credentialsError, refusalError } from './failure.ts'
import type { ByteRange, ObjectStore } from './interface.ts'
import { BEYOND_THE_END, type ObjectAnswer } from './range.ts'

type Sdk = typeof import('@azure/storage-blob')
type Credential = StorageSharedKeyCredential | AnonymousCredential | TokenCredential

/** The account of every storage emulator (Azurite's documentation); its key is no secret. */
const EMULATOR = {
  account: 'devstoreaccount1',
  key: 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==',
  endpoint: 'http://127.0.0.1:10000',
} as const

/**
 * Objects in a container of Azure Blob Storage. Without a key, SAS or token in the address, those of the environment
 * are taken (`AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`), else what the
 * Azure SDK finds: environment, workload and managed identity, command line tools. Throws `unimplemented` when the
 * SDK is missing, `invalid-argument` when no account is named.
 */
export async function openAzureObjectStore(
  address: BucketAddress & { kind: 'azure' },
  policy: Partial<RequestPolicy> = {},
): Promise<ObjectStore & Disposable> {
  const sdk = await importSdk('@azure/storage-blob', () => import('@azure/storage-blob'))
  const { options, container, prefix } = address
  const account = accountOf(options)
  const credential = await credentialOf(sdk, account)
  const pipeline: StoragePipelineOptions & { readonly redirectOptions: { readonly maxRetries: number } } = {
    retryOptions: { maxTries: 1 }, // see Requests
    redirectOptions: { maxRetries: 0 }, // the service redirects nobody
    userAgentOptions: { userAgentPrefix: options.userAgent ?? `tvix-store/${VERSION}` },
  }
  const service = new sdk.BlobServiceClient(account.endpoint, credential, pipeline)
  const name = `az://${account.name}/${container}/${prefix}`
  return bucketObjectStore(new AzureBucket(name, service.getContainerClient(container)), prefix, policy)
}

interface Account {
  readonly name: string
  /** With the SAS, where there is one. */
  readonly endpoint: string
  readonly options: AzureOptions
}

function accountOf(given: AzureOptions): Account {
  const emulated = isOn('use_emulator', given.useEmulator)
  const env = process.env
  const name =
    given.account ??
    (emulated ? EMULATOR.account : (env['AZURE_STORAGE_ACCOUNT_NAME'] ?? env['AZURE_STORAGE_ACCOUNT']))
  if (!name)
    throw new StoreError(
      'invalid-argument',
      'no storage account: set AZURE_STORAGE_ACCOUNT_NAME or add ?azure_storage_account_name=NAME to the address',
    )
  const options = emulated
    ? { accountKey: EMULATOR.key, endpoint: EMULATOR.endpoint, allowHttp: 'true', ...given }
    : given
  const base =
    options.endpoint === undefined
      ? new URL(`https://${name}.blob.core.windows.net/`)
      : endpointUrl(options.endpoint, options.allowHttp)
  // Emulators have their accounts in the path.
  if (emulated && base.pathname === '/') base.pathname = `/${name}`
  return { name, endpoint: withSas(base, options), options }
}

function withSas(base: URL, options: AzureOptions): string {
  const sas =
    options.sasToken ?? (hasCredential(options) ? undefined : process.env['AZURE_STORAGE_SAS_TOKEN'])
  if (sas) base.search = sas
  return base.href
}

function hasCredential(options: AzureOptions): boolean {
  return (options.accountKey ?? options.sasToken ?? options.bearerToken ?? options.clientSecret) !== undefined
}

async function credentialOf(sdk: Sdk, { name, endpoint, options }: Account): Promise<Credential> {
  if (isOn('skip_signature', options.skipSignature)) return new sdk.AnonymousCredential()
  if (options.bearerToken) return fixedToken(options.bearerToken)
  const key = options.accountKey ?? (hasCredential(options) ? undefined : accountKeyOfEnvironment())
  if (key) return new sdk.StorageSharedKeyCredential(name, key)
  if (new URL(endpoint).search !== '') return new sdk.AnonymousCredential()
  const identity = await importSdk('@azure/identity', () => import('@azure/identity'))
  const { clientId, clientSecret, tenantId } = options
  if (clientSecret === undefined)
    return new identity.DefaultAzureCredential({
      ...(clientId && { managedIdentityClientId: clientId, workloadIdentityClientId: clientId }),
      ...(tenantId && { tenantId }),
    })
  if (!clientId || !tenantId)
    throw new StoreError(
      'invalid-argument',
      'azure_storage_client_secret needs azure_storage_client_id and azure_storage_tenant_id beside it',
    )
  return new identity.ClientSecretCredential(tenantId, clientId, clientSecret)
}

function accountKeyOfEnvironment(): string | undefined {
  return process.env['AZURE_STORAGE_ACCOUNT_KEY'] ?? process.env['AZURE_STORAGE_KEY']
}

/** A token that somebody else renews, by a new address. */
function fixedToken(token: string): TokenCredential {
  return { getToken: async () => ({ token, expiresOnTimestamp: Number.MAX_SAFE_INTEGER }) }
}

interface AzureUpload {
  readonly key: string
}

class AzureBucket implements Bucket {
  readonly name: string
  readonly #container: ContainerClient

  constructor(name: string, container: ContainerClient) {
    this.name = name
    this.#container = container
  }

  async get(key: string, range: ByteRange | undefined, request: Request): Promise<ObjectAnswer | undefined> {
    const { start, end } = range ?? { start: 0, end: undefined }
    const count = end === undefined ? undefined : end - start
    try {
      const answer = await this.#container
        .getBlobClient(key)
        .download(start, count, { abortSignal: request.signal, maxRetryRequests: 0 })
      const { readableStreamBody, contentLength, contentRange, _response } = answer
      const bytes = await readBody(readableStreamBody as Readable, contentLength, request)
      return { status: _response.status, contentRange, bytes }
    } catch (error) {
      if ((error as RestError).statusCode === 416) return BEYOND_THE_END
      return absent(error)
    }
  }

  async head(key: string, { signal }: Request): Promise<number | undefined> {
    try {
      const properties = await this.#container.getBlobClient(key).getProperties({ abortSignal: signal })
      return properties.contentLength ?? 0
    } catch (error) {
      return absent(error)
    }
  }

  async put(key: string, body: Uint8Array, ifAbsent: boolean, { signal }: Request): Promise<void> {
    const blob = this.#container.getBlockBlobClient(key)
    // The SDK would send the whole buffer that a view lies in.
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
    await unlessPresent(ifAbsent, () =>
      blob.upload(bytes, bytes.length, { abortSignal: signal, ...HEADERS, ...condition(ifAbsent) }),
    )
  }

  /** Blocks that nobody commits go away by themselves, after a week. */
  readonly parts: PartedUploads<AzureUpload, string> = {
    start: async (key) => ({ key }),
    part: async ({ key }, number, bytes, { signal }) => {
      const id = Buffer.from(String(number).padStart(6, '0')).toString('base64')
      const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      await this.#container.getBlockBlobClient(key).stageBlock(id, body, body.length, { abortSignal: signal })
      return id
    },
    complete: async ({ key }, ids, ifAbsent, { signal }) => {
      const blob = this.#container.getBlockBlobClient(key)
      await unlessPresent(ifAbsent, () =>
        blob.commitBlockList([...ids], { abortSignal: signal, ...HEADERS, ...condition(ifAbsent) }),
      )
    },
    abandon: async () => {},
  }

  async page(prefix: string, cursor: string | undefined, { signal }: Request): Promise<Page> {
    const pages = this.#container
      .listBlobsFlat({ prefix, abortSignal: signal })
      .byPage(cursor === undefined ? {} : { continuationToken: cursor })
    const { value } = await pages.next()
    return {
      keys: (value?.segment.blobItems ?? []).map(({ name }: { name: string }) => name),
      next: value?.continuationToken || undefined,
    }
  }

  async delete(key: string, { signal }: Request): Promise<void> {
    try {
      await this.#container.getBlobClient(key).delete({ abortSignal: signal })
    } catch (error) {
      absent(error)
    }
  }

  /** HEAD has no body that could tell why. Who may not list may still read: 403 says that there is a container. */
  async checkExists({ signal }: Request): Promise<void> {
    try {
      await this.#container.listBlobsFlat({ abortSignal: signal }).byPage({ maxPageSize: 1 }).next()
    } catch (error) {
      if ((error as RestError).statusCode !== 403) throw error
    }
  }

  explain(error: unknown, hasWorked: boolean): StoreError {
    if (error instanceof StoreError) return error
    const { statusCode, code, message, name, response } = error as RestError
    // The SDK says so of answers that lack what every blob has: a length, an ETag.
    if (error instanceof RangeError) return new StoreError('corrupt', `the answer is no blob: ${message}`)
    if (NO_CREDENTIALS.has(name))
      return credentialsError(
        error,
        hasWorked,
        'set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or log in with az login, or add ?azure_skip_signature=true for a public container',
      )
    if (statusCode !== undefined && statusCode < 300)
      return new StoreError('corrupt', `the answer makes no sense (HTTP status ${statusCode}, ${code})`)
    if (statusCode !== undefined)
      return refusalError({
        status: statusCode,
        reason: code,
        message,
        requestId: response?.headers.get('x-ms-request-id'),
        retryAfter: response?.headers.get('retry-after'),
      })
    return connectionError(error)
  }

  [Symbol.dispose](): void {}
}

/** Errors of `@azure/identity`; some have the status of another server than the one that holds the objects. */
const NO_CREDENTIALS = new Set([
  ...['CredentialUnavailableError', 'AggregateAuthenticationError', 'AuthenticationError'],
  'AuthenticationRequiredError',
])

/** What is stored is for others to know. */
const HEADERS = { blobHTTPHeaders: { blobContentType: 'application/octet-stream' } }

function condition(ifAbsent: boolean): { conditions?: { ifNoneMatch: string } } {
  return ifAbsent ? { conditions: { ifNoneMatch: '*' } } : {}
}

async function unlessPresent(ifAbsent: boolean, put: () => Promise<unknown>): Promise<void> {
  try {
    await put()
  } catch (error) {
    const { code, statusCode } = error as RestError
    if (!ifAbsent || (code !== 'BlobAlreadyExists' && statusCode !== 412)) throw error
  }
}

/** `undefined` for an answer that says that there is no such object; throws the error again if it says otherwise. */
function absent(error: unknown): undefined {
  const { statusCode, code } = error as RestError
  if (statusCode === 404 && (code === undefined || code === 'BlobNotFound')) return undefined
  throw error
}
