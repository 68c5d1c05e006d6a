import { StoreError } from '../../support/errors.ts'
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
  const [first, ...rest] = path
  const account = azureAccount(hostname)
  if (account) {
    if (!first) throw invalid('it names no container')
    return azure(first, rest, withAccount(readOptions(AZURE_OPTIONS, given), account))
  }
  const r2 = /\.r2\.cloudflarestorage\.com$/.test(hostname)
  const pathStyle = /^s3[.-](.+)\.amazonaws\.com$/.exec(hostname)
  if (r2 || pathStyle) {
    if (!first) throw invalid('it names no bucket')
    const implied = r2
      ? [['endpoint', url.origin] as const, region('auto', given)]
      : [region(pathStyle![1]!, given)]
    return s3(first, rest, [...implied.flatMap((option) => (option ? [option] : [])), ...given])
  }
  const virtual = /^(.+)\.s3[.-](.+)\.amazonaws\.com$/.exec(hostname)
  if (!virtual) return undefined
  const implied = region(virtual[2]!, given)
  return s3(virtual[1]!, path, implied ? [implied, ...given] : given)
}

function region(name: string, given: Given): readonly [string, string] | undefined {
  return given.some(([key]) => /^(aws_)?(default_)?region$/i.test(key)) ? undefined : ['aws_region', name]
}

function plainHttp(url: URL, given: Given): BucketAddress {
  const base = new URL(url)
  base.search = ''
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  return { kind: 'http', url: base, options: readOptions(HTTP_OPTIONS, given) }
}

function azureAccount(hostname: string): string | undefined {
  return /^([a-z0-9-]+)\.(?:blob|dfs)\.(?:core\.windows\.net|fabric\.microsoft\.com)$/.exec(hostname)?.[1]
}

function withAccount(options: AzureOptions, account: string): AzureOptions {
  if (options.account !== undefined && options.account !== account)
    throw invalid('its host and its options name different accounts')
  return { ...options, account }
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
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('it is not well-formed: write a percent sign as %25')
  }
}

function prefixOf(parts: readonly string[]): string {
  return parts.map((part) => `${part}/`).join('')
}

function invalid(why: string): StoreError {
  return new StoreError('invalid-argument', why)
}
