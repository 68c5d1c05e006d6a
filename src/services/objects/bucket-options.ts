import { StoreError } from '../../support/errors.ts'

/** What the query of a bucket's address may say, by the kind of bucket and by the name that is ours for it. */
export type BucketOptions<Name extends string = string> = Readonly<Partial<Record<Name, string>>>

/**
 * For every option of ours the names that it goes by: those of the Rust implementations (spec §3.2), which take
 * them from their object store library.
 */
type Names<Name extends string> = Readonly<Record<Name, readonly string[]>>

const withAndWithout = (prefix: string, ...names: string[]) => names.flatMap((name) => [prefix + name, name])

const COMMON = {
  allowHttp: withAndWithout('', 'allow_http'),
  userAgent: ['user_agent'],
} as const

export const S3_OPTIONS = {
  ...COMMON,
  allowHttp: withAndWithout('aws_', 'allow_http'),
  accessKeyId: withAndWithout('aws_', 'access_key_id'),
  secretAccessKey: withAndWithout('aws_', 'secret_access_key'),
  sessionToken: [...withAndWithout('aws_', 'session_token', 'token')],
  region: withAndWithout('aws_', 'region', 'default_region'),
  endpoint: withAndWithout('aws_', 'endpoint', 'endpoint_url'),
  profile: ['aws_profile'],
  virtualHosted: withAndWithout('aws_', 'virtual_hosted_style_request'),
  skipSignature: withAndWithout('aws_', 'skip_signature'),
} as const satisfies Names<string>

export const GCS_OPTIONS = {
  ...COMMON,
  serviceAccountFile: [
    ...withAndWithout('google_', 'service_account', 'service_account_path', 'application_credentials'),
  ],
  serviceAccountKey: withAndWithout('google_', 'service_account_key'),
  endpoint: withAndWithout('google_', 'base_url', 'endpoint'),
  skipSignature: withAndWithout('google_', 'skip_signature'),
} as const satisfies Names<string>

export const AZURE_OPTIONS = {
  ...COMMON,
  allowHttp: withAndWithout('azure_', 'allow_http'),
  account: withAndWithout('azure_storage_', 'account_name'),
  accountKey: [...withAndWithout('azure_storage_', 'account_key', 'access_key', 'master_key')],
  sasToken: [...withAndWithout('azure_storage_', 'sas_token', 'sas_key')],
  bearerToken: ['azure_storage_token', 'bearer_token', 'token'],
  clientId: ['azure_storage_client_id', 'azure_client_id', 'client_id'],
  clientSecret: ['azure_storage_client_secret', 'azure_client_secret', 'client_secret'],
  tenantId: [
    ...['azure_storage_tenant_id', 'azure_storage_authority_id', 'azure_tenant_id', 'azure_authority_id'],
    ...['tenant_id', 'authority_id'],
  ],
  endpoint: ['azure_storage_endpoint', 'azure_endpoint', 'endpoint'],
  useEmulator: ['azure_storage_use_emulator', 'object_store_use_emulator', 'use_emulator'],
  skipSignature: withAndWithout('azure_', 'skip_signature'),
} as const satisfies Names<string>

export const HTTP_OPTIONS = COMMON satisfies Names<string>

export type S3Options = BucketOptions<keyof typeof S3_OPTIONS>
export type GcsOptions = BucketOptions<keyof typeof GCS_OPTIONS>
export type AzureOptions = BucketOptions<keyof typeof AZURE_OPTIONS>
export type HttpOptions = BucketOptions<keyof typeof HTTP_OPTIONS>

/**
 * What the Rust implementation may be told of how it goes about its requests, and what changes nothing in what is
 * stored and read: our way is our own. Others would be missed, and are refused.
 */
const WITHOUT_MEANING_HERE = new Set([
  ...withAndWithout('aws_', 'unsigned_payload', 'checksum_algorithm', 'imdsv1_fallback', 'disable_tagging'),
  ...withAndWithout('aws_', 'copy_if_not_exists', 'conditional_put'),
  ...['timeout', 'connect_timeout', 'pool_idle_timeout', 'pool_max_idle_per_host', 'randomize_addresses'],
  ...['http1_only', 'http2_only', 'http2_keep_alive_interval', 'http2_keep_alive_timeout'],
  ...['http2_keep_alive_while_idle', 'default_content_type'],
])

/** None of them has a blank; there was a plus sign that nobody wrote as `%2B`, as it has to be in a query. */
const WITHOUT_BLANKS: ReadonlySet<string> = new Set([
  ...['accessKeyId', 'secretAccessKey', 'sessionToken', 'accountKey'],
])

/** Gives options our names. Throws `invalid-argument` for one that is unknown or given twice; never shows a value. */
export function readOptions<Name extends string>(
  names: Names<Name>,
  given: Iterable<readonly [string, string]>,
): BucketOptions<Name> {
  const options: Partial<Record<Name, string>> = {}
  for (const [key, value] of given) {
    if (WITHOUT_MEANING_HERE.has(key.toLowerCase())) continue
    const found = (Object.keys(names) as Name[]).find((name) => names[name].includes(key.toLowerCase()))
    if (!found) {
      const known = Object.values<readonly string[]>(names).map(([first]) => first)
      throw new StoreError('invalid-argument', `unknown option ${key}; known are ${known.join(', ')}`)
    }
    if (options[found] !== undefined)
      throw new StoreError('invalid-argument', `the option ${key} is given twice`)
    options[found] = WITHOUT_BLANKS.has(found) ? value.replaceAll(' ', '+') : value
  }
  return options
}

/** `1`, `true`, `yes` and `on`, as the Rust implementations read them. Throws `invalid-argument` for nonsense. */
export function isOn(name: string, value: string | undefined): boolean {
  if (value === undefined || /^(0|false|no|off)$/i.test(value)) return false
  if (/^(1|true|yes|on)$/i.test(value)) return true
  throw new StoreError('invalid-argument', `${name} is true or false`)
}

/** An endpoint as a URL. Throws `invalid-argument` when it is none, or in the clear without `allow_http`. */
export function endpointUrl(endpoint: string, allowHttp: string | undefined): URL {
  const url = URL.parse(endpoint)
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw new StoreError('invalid-argument', `the endpoint ${endpoint} is no http or https URL`)
  if (url.protocol === 'http:' && !isOn('allow_http', allowHttp))
    throw new StoreError('invalid-argument', `the endpoint is plain http: add allow_http=true if you mean it`)
  return url
}
