import { StoreError } from '../../support/errors.ts'
import { percentDecoded } from '../../support/percent.ts'
import {
  AZURE_OPTIONS,
  type AzureOptions,
  GCS_OPTIONS,
  type GcsOptions,
  HTTP_OPTIONS,
  type HttpOptions,
  readOptions,
  S3_OPTIONS,
  type S3Options,
} from './bucket-options.ts'

/** Objects behind a network. `prefix` is '' or ends with a slash. */
export type BucketAddress =
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string; readonly options: S3Options }
  | { readonly kind: 'gcs'; readonly bucket: string; readonly prefix: string; readonly options: GcsOptions }
  | {
      readonly kind: 'azure'
      readonly container: string
      readonly prefix: string
      readonly options: AzureOptions
    }
  | { readonly kind: 'http'; readonly url: URL; readonly options: HttpOptions }

/** Schemes of buckets, as they stand behind `objectstore+` (spec §3.2). */
export const BUCKET_SCHEMES: ReadonlySet<string> = new Set([
  ...['http', 'https', 's3', 's3a', 'gs', 'az', 'azure', 'abfs', 'abfss', 'adl'],
])

/**
 * Understands the URL of a bucket. `extra` are options beside those of its query. Throws `invalid-argument` with
 * the reason, which never shows what may be a secret.
 */
export function parseBucketUrl(text: string, extra: Iterable<readonly [string, string]> = []): BucketAddress {
  const url = URL.parse(text)
  if (!url) throw invalid('it is no URL')
  if (url.hash !== '') throw invalid('it has a # in it (write %23)')
  const given = [...url.searchParams, ...extra]
  const path = pathParts(url)
  switch (url.protocol) {
    case 's3:':
    case 's3a:':
      return s3(bucketName(url, 's3://bucket/prefix'), path, given)
    case 'gs:': {
      const bucket = bucketName(url, 'gs://bucket/prefix')
      return { kind: 'gcs', bucket, prefix: prefixOf(path), options: readOptions(GCS_OPTIONS, given) }
    }
    case 'az:':
    case 'azure:':
    case 'adl:':
    case 'abfs:':
    case 'abfss:':
      return azureUrl(url, path, given)
    case 'http:':
    case 'https:':
      return cloudHost(url, path, given) ?? plainHttp(url, given)
    default:
      throw invalid(`unknown object store ${url.protocol.slice(0, -1)}`)
  }
}

type Given = readonly (readonly [string, string])[]

function s3(bucket: string, path: readonly string[], given: Given): BucketAddress {
  const options = readOptions(S3_OPTIONS, given)
  if ((options.accessKeyId === undefined) !== (options.secretAccessKey === undefined))
    throw invalid('aws_access_key_id and aws_secret_access_key go together')
  return { kind: 's3', bucket, prefix: prefixOf(path), options }
}

function azure(container: string, path: readonly string[], options: AzureOptions): BucketAddress {
  return { kind: 'azure', container, prefix: prefixOf(path), options }
}

/** `az://container/prefix`, and `abfs://container@account.dfs.core.windows.net/prefix`. */
function azureUrl(url: URL, path: readonly string[], given: Given): BucketAddress {
  const options = readOptions(AZURE_OPTIONS, given)
  if (url.username === '') return azure(bucketName(url, 'az://container/prefix'), path, options)
  if (url.password !== '') throw invalid('a password has no place in it')
  const account = azureAccount(url.hostname)
  if (!account) throw invalid(`${url.hostname} is no account of Azure`)
  return azure(decodePercent(url.username), path, withAccount(options, account))
}

/** `https://` URLs of the clouds' own hosts, which stand for their buckets. */
function cloudHost(url: URL, path: readonly string[], given: Given): BucketAddress | undefined {
  const { hostname } = url
  const account = azureAccount(hostname)
  if (account) {
    const [container, ...rest] = bucketFirst(path, 'container')
    return azure(container, rest, withAccount(readOptions(AZURE_OPTIONS, given), account))
  }
  if (/\.r2\.cloudflarestorage\.com$/.test(hostname)) {
    const [bucket, ...rest] = bucketFirst(path, 'bucket')
    return s3(bucket, rest, [['endpoint', url.origin], ...region('auto', given), ...given])
  }
  const amazon = AMAZON_HOST.exec(hostname)?.groups
  if (!amazon) return undefined
  const [bucket, ...rest] =
    amazon['bucket'] === undefined ? bucketFirst(path, 'bucket') : [amazon['bucket'], ...path]
  // Hosts without a region are of times when there was one.
  return s3(bucket, rest, [...region(amazon['region'] ?? 'us-east-1', given), ...given])
}

/** With the bucket in the host or in the path; `s3-region` is as old as `s3.region`. */
const AMAZON_HOST =
  /^(?:(?<bucket>.+)\.)?s3(?:[.-](?:dualstack\.)?(?<region>[a-z]{2}(?:-[a-z]+)+-\d+))?\.amazonaws\.com(?:\.cn)?$/

function bucketFirst(path: readonly string[], what: string): readonly [string, ...string[]] {
  const [first, ...rest] = path
  if (!first) throw invalid(`it names no ${what}`)
  return [first, ...rest]
}

function region(name: string, given: Given): Given {
  return given.some(([key]) => /^(aws_)?(default_)?region$/i.test(key)) ? [] : [['aws_region', name]]
}

function plainHttp(url: URL, given: Given): BucketAddress {
  const base = new URL(url)
  base.search = ''
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  return { kind: 'http', url: base, options: readOptions(HTTP_OPTIONS, given) }
}

interface AzureAccount {
  readonly name: string
  /** Where it is not where accounts are. */
  readonly endpoint: string | undefined
}

function azureAccount(hostname: string): AzureAccount | undefined {
  const [, name, domain] = AZURE_HOST.exec(hostname) ?? []
  if (name === undefined) return undefined
  // The blobs of Fabric, also of who names its other door.
  return { name, endpoint: domain === FABRIC ? `https://${name}.blob.${FABRIC}` : undefined }
}

const FABRIC = 'fabric.microsoft.com'
const AZURE_HOST = /^([a-z0-9-]+)\.(?:blob|dfs)\.(core\.windows\.net|fabric\.microsoft\.com)$/

function withAccount(options: AzureOptions, { name, endpoint }: AzureAccount): AzureOptions {
  if (options.account !== undefined && options.account !== name)
    throw invalid('its host and its options name different accounts')
  return { ...(endpoint && { endpoint }), ...options, account: name }
}

function bucketName(url: URL, form: string): string {
  if (url.username !== '' || url.password !== '' || url.port !== '')
    throw invalid(`it has more than a name in the place of the host; expected ${form}`)
  if (url.hostname === '') throw invalid(`it names no bucket; expected ${form}`)
  return decodePercent(url.hostname)
}

function pathParts(url: URL): string[] {
  return url.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decodePercent)
}

/** Throws `invalid-argument` for what is no UTF-8. */
export function decodePercent(text: string): string {
  const plain = percentDecoded(text)
  if (plain === undefined) throw invalid('it is not well-formed: write a percent sign as %25')
  return plain
}

function prefixOf(parts: readonly string[]): string {
  return parts.map((part) => `${part}/`).join('')
}

function invalid(why: string): StoreError {
  return new StoreError('invalid-argument', why)
}
