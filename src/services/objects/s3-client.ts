import type { S3Client, S3ClientConfig, S3ServiceException } from '@aws-sdk/client-s3'
import { BUCKET_REQUESTS_MAX, HTTP_CONNECT_MS_MAX } from '../../support/limits.ts'
import { VERSION } from '../../support/version.ts'
import { endpointUrl, isOn, type S3Options } from './bucket-options.ts'

type Sdk = typeof import('@aws-sdk/client-s3')

/** The SDK's client for one bucket, set up as its address and the environment say. */
export function openS3Client(sdk: Sdk, options: S3Options): S3Client {
  const client = new sdk.S3Client(clientConfig(options))
  announce(client, userAgentOf(options))
  if (options.accessKeyId === undefined) renewCredentials(client)
  followRegion(sdk, client)
  return client
}

export function userAgentOf(options: S3Options): string {
  return options.userAgent ?? `tvix-store/${VERSION}`
}

function clientConfig(options: S3Options): S3ClientConfig {
  const endpoint =
    options.endpoint === undefined
      ? endpointOfEnvironment()
      : endpointUrl(options.endpoint, options.allowHttp).href
  const region = regionOf(options, endpoint !== undefined)
  const agent = { keepAlive: true, maxSockets: BUCKET_REQUESTS_MAX, proxyEnv: process.env }
  return {
    // Few servers but Amazon's have names for their buckets.
    ...(endpoint && {
      endpoint,
      forcePathStyle: !isOn('virtual_hosted_style_request', options.virtualHosted),
    }),
    ...(region && { region }),
    ...(options.profile !== undefined && { profile: options.profile }),
    ...credentials(options),
    ...REREAD_FILES,
    maxAttempts: 1, // see Requests
    // Checksums of their own are what many servers that speak like S3 refuse; we verify what we read in any case.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // It would use connections of its own, past a proxy, and wait for 6 s where a server does not know it.
    expectContinueHeader: false,
    requestHandler: { connectionTimeout: HTTP_CONNECT_MS_MAX, httpAgent: agent, httpsAgent: agent },
  }
}

/** Goes through to what reads the shared files, which else remembers them for as long as the process lives. */
const REREAD_FILES = { ignoreCache: true } as S3ClientConfig

/** The SDK heeds them as well, but would look for a bucket at a host of its own name there. */
function endpointOfEnvironment(): string | undefined {
  const env = process.env
  if (/^true$/i.test(env['AWS_IGNORE_CONFIGURED_ENDPOINT_URLS'] ?? '')) return undefined
  return env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'] || undefined
}

/** `undefined`: the SDK finds it in a profile, or asks the instance, of which there is none with most other servers. */
function regionOf({ region, profile }: S3Options, hasEndpoint: boolean): string | undefined {
  const env = process.env
  const named = region ?? (env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || undefined)
  return named ?? (hasEndpoint && !profile && !env['AWS_PROFILE'] ? DEFAULT_REGION : undefined)
}

/** That of the Rust implementation's library, and of most servers that speak like S3. */
const DEFAULT_REGION = 'us-east-1'

function credentials(options: S3Options): S3ClientConfig {
  const { accessKeyId, secretAccessKey, sessionToken } = options
  if (isOn('skip_signature', options.skipSignature))
    return {
      credentials: { accessKeyId: '', secretAccessKey: '' },
      signer: { sign: async (request) => request },
    }
  if (accessKeyId !== undefined && secretAccessKey !== undefined)
    return { credentials: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) } }
  return {}
}

/** The SDK would put its own name first. */
function announce(client: S3Client, userAgent: string): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { headers: Record<string, string> }
      headers['user-agent'] = `${userAgent} ${headers['user-agent'] ?? ''}`.trim()
      return next(args)
    },
    { step: 'build', priority: 'low', name: 'tvixStoreUserAgent' },
  )
}

export const EXPIRED: ReadonlySet<string> = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'TokenRefreshRequired',
])

/**
 * Asks for the credentials anew when they have expired before their time, or without one: those in a file are renewed
 * by somebody else, and the SDK would keep what it read for as long as the process lives.
 */
function renewCredentials(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args)
      } catch (error) {
        if (!EXPIRED.has((error as Error).name)) throw error
        await client.config.credentials({ forceRefresh: true })
        return await next(args)
      }
    },
    { step: 'initialize', name: 'tvixStoreRenewCredentials' },
  )
}

/**
 * Asks again where a bucket says that it is, and from then on only there. The SDK's own way (`followRegionRedirects`) has each
 * request ask at the wrong place first, and knows one of the answers only.
 */
function followRegion(sdk: Sdk, client: S3Client): void {
  const named = client.config.region
  let elsewhere: string | undefined
  client.config.region = async () => elsewhere ?? (await named())
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const asked = elsewhere
        try {
          return await next(args)
        } catch (error) {
          const refusal = error as S3ServiceException
          const told = regionToldBy(refusal)
          if (told !== undefined) elsewhere = told === (await named()) ? undefined : told
          else if (commandName === 'HeadObjectCommand' && refusal.$metadata?.httpStatusCode === 400) {
            // To HEAD a server may say that something is wrong, and not what; to a listing it does.
            const { Bucket } = args.input as { Bucket: string }
            await client.send(new sdk.ListObjectsV2Command({ Bucket, MaxKeys: 1 })).catch(() => {})
          } else throw error
          // Of many requests that learn it at once, each was made for the region before.
          if (elsewhere === asked) throw error
          return await next(args)
        }
      },
    { step: 'initialize', name: 'tvixStoreFollowRegion' },
  )
}

/** Of 301 and 307, and of 400 where the signature is for another region. */
function regionToldBy(error: S3ServiceException): string | undefined {
  const { $metadata, $response, name } = error
  if (![301, 307, 400].includes($metadata?.httpStatusCode ?? 0)) return undefined
  const { headers } = ($response ?? {}) as { headers?: Readonly<Record<string, string>> }
  const inBody = name === 'AuthorizationHeaderMalformed' ? (error as { Region?: unknown }).Region : undefined
  const told = headers?.['x-amz-bucket-region'] ?? inBody
  return typeof told === 'string' && /^[a-z0-9-]{1,63}$/i.test(told) ? told : undefined
}
