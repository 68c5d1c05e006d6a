/**
 * Credentials from where the clouds put them, each against a stand-in for the server that hands them out: what is
 * asked for there, who then asks for objects, and that they are renewed, also by those who read past the SDK.
 */
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseBucketUrl } from '../../../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../../../src/services/objects/open.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { until } from '../../../support/cli.ts'
import { type Answer, startHttpServer } from '../../../support/http-server.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const QUICK = { retryMs: [1, 1], silenceMsMax: 20_000 }
const BODY = Buffer.from('the object')
const object: Answer = (response) =>
  response.writeHead(200, { 'content-length': String(BODY.length), etag: '"1"' }).end(BODY)
const json =
  (value: unknown, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
const broken: Answer = (response) => response.writeHead(500).end('broken')

/** Shorter than the five minutes before its end in which each of the SDKs renews what expires. */
const SOON_MS = 240_000

let folder: Awaited<ReturnType<typeof tempDir>>
beforeEach(async () => {
  folder = await tempDir()
  for (const name of Object.keys(process.env))
    if (/^(AWS|AZURE|GOOGLE|GCE|IDENTITY)_/.test(name)) vi.stubEnv(name, undefined)
  vi.stubEnv('HOME', folder.path)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await folder[Symbol.asyncDispose]()
})

function setEnv(values: Record<string, string>): void {
  for (const [name, value] of Object.entries(values)) vi.stubEnv(name, value)
}

async function failure(work: Promise<unknown>): Promise<StoreError> {
  const outcome = await work.catch((error: unknown) => error)
  if (outcome instanceof StoreError) return outcome
  throw new Error(`it did not fail, but gave ${String(outcome)}`)
}

describe('S3', () => {
  /** Key and session token of every read, and what else was asked for. */
  async function s3(handOut: Answer = () => {}, isGood: (key: string) => boolean = () => true) {
    const readers: string[] = []
    const server = await startHttpServer((response, request) => {
      if (!request.url!.startsWith('/bucket/')) return handOut(response, request)
      const { authorization, 'x-amz-security-token': token } = request.headers
      const key = /Credential=([^/]+)/.exec(authorization ?? '')?.[1] ?? ''
      readers.push(token === undefined ? key : `${key} ${String(token)}`)
      if (isGood(key)) return object(response, request)
      response.writeHead(400, { 'content-type': 'application/xml' })
      return response.end(
        '<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>',
      )
    })
    return {
      readers,
      origin: server.url.origin,
      requests: server.requests,
      open: (query = '') =>
        openBucket(
          parseBucketUrl(`s3://bucket/p?aws_endpoint_url=${server.url.origin}&aws_allow_http=1${query}`),
          QUICK,
        ),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  }

  beforeEach(() => {
    setEnv({
      AWS_REGION: 'eu-west-1',
      AWS_SHARED_CREDENTIALS_FILE: join(folder.path, 'credentials'),
      AWS_CONFIG_FILE: join(folder.path, 'config'),
      AWS_EC2_METADATA_DISABLED: 'true',
    })
  })

  /** Credentials of one generation after the other, which expire soon. */
  function generations(isDown: () => boolean) {
    let made = 0
    const next = () => ({
      AccessKeyId: `KEY${++made}`,
      SecretAccessKey: 'secret',
      Token: `token${made}`,
      Expiration: new Date(Date.now() + SOON_MS).toISOString(),
    })
    const answer =
      (render: (credentials: ReturnType<typeof next>) => Answer): Answer =>
      (response, request) =>
        (isDown() ? broken : render(next()))(response, request)
    return answer
  }

  const toSts =
    (answer: ReturnType<typeof generations>): Answer =>
    async (response, request) => {
      expect(await bodyOf(request)).toMatch(/Action=AssumeRoleWithWebIdentity.*WebIdentityToken=the-jwt/)
      answer(
        ({ AccessKeyId, SecretAccessKey, Token, Expiration }) =>
          (reply) =>
            reply
              .writeHead(200, { 'content-type': 'text/xml' })
              .end(
                `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${AccessKeyId}</AccessKeyId><SecretAccessKey>${SecretAccessKey}</SecretAccessKey><SessionToken>${Token}</SessionToken><Expiration>${Expiration}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
              ),
      )(response, request)
    }

  const toContainer =
    (answer: ReturnType<typeof generations>): Answer =>
    (response, request) => {
      expect(request.headers.authorization).toBe('container-token')
      answer((credentials) => json(credentials))(response, request)
    }

  /** IMDSv2: a session first, then the role, then its credentials. */
  const toInstance =
    (answer: ReturnType<typeof generations>): Answer =>
    (response, request) => {
      if (request.method === 'PUT') return response.writeHead(200).end('session')
      expect(request.headers['x-aws-ec2-metadata-token']).toBe('session')
      if (request.url!.endsWith('/')) return response.writeHead(200).end('role')
      return answer((credentials) => json({ Code: 'Success', ...credentials }))(response, request)
    }

  const SOURCES: Record<
    string,
    [(answer: ReturnType<typeof generations>) => Answer, (origin: string) => Record<string, string>]
  > = {
    'the web identity of a pod': [
      toSts,
      (origin) => ({
        AWS_ROLE_ARN: 'arn:aws:iam::1:role/r',
        AWS_WEB_IDENTITY_TOKEN_FILE: join(folder.path, 'jwt'),
        AWS_ENDPOINT_URL_STS: `${origin}/sts/`,
      }),
    ],
    'the agent of a container': [
      toContainer,
      (origin) => ({
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${origin}/container`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN: 'container-token',
      }),
    ],
    'the metadata of an instance': [
      toInstance,
      (origin) => ({ AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: origin }),
    ],
  }

  describe.each(Object.entries(SOURCES))('credentials from %s', (_, [source, env]) => {
    async function ready(isDown = () => false) {
      await writeFile(join(folder.path, 'jwt'), 'the-jwt')
      const bucket = await s3(source(generations(isDown)))
      setEnv(env(bucket.origin))
      return bucket
    }

    it('are taken, and renewed before they expire, past the SDK as well', async () => {
      await using bucket = await ready()
      using objects = await bucket.open()
      await objects.get('k')
      expect(bucket.readers).toEqual(['KEY1 token1'])
      // Renewed behind the back of those who read meanwhile.
      await until(async () => {
        await objects.get('k')
        return bucket.readers.includes('KEY3 token3')
      })
      expect(bucket.readers).toEqual([...bucket.readers].sort(byNumber))
    })

    it('that cannot be renewed serve until they expire', async () => {
      let isDown = false
      await using bucket = await ready(() => isDown)
      using objects = await bucket.open()
      await objects.get('k')
      isDown = true
      for (let i = 0; i < 5; i++) expect(await objects.get('k')).toEqual(new Uint8Array(BODY))
    })
  })

  it('are those of the environment', async () => {
    await using bucket = await s3()
    setEnv({ AWS_ACCESS_KEY_ID: 'ENV', AWS_SECRET_ACCESS_KEY: 'secret', AWS_SESSION_TOKEN: 'session' })
    using objects = await bucket.open()
    for (let i = 0; i < 2; i++) await objects.get('k')
    expect(bucket.readers).toEqual(['ENV session', 'ENV session'])
  })

  it('are those of the profile that is named, in the address or in the environment', async () => {
    await using bucket = await s3()
    const profile = (name: string, key: string) =>
      `[${name}]\naws_access_key_id=${key}\naws_secret_access_key=secret\n`
    await writeFile(
      join(folder.path, 'credentials'),
      profile('default', 'DEFAULT') + profile('other', 'OTHER'),
    )
    using first = await bucket.open()
    await first.get('k')
    using second = await bucket.open('&aws_profile=other')
    await second.get('k')
    setEnv({ AWS_PROFILE: 'other' })
    using third = await bucket.open()
    await third.get('k')
    expect(bucket.readers).toEqual(['DEFAULT', 'OTHER', 'OTHER'])
    using fourth = await bucket.open('&aws_profile=nobody')
    const { code, message } = await failure(fourth.get('k'))
    expect(code).toBe('denied')
    expect(message).toContain('nobody')
  })

  it('are read again when what was in the file has expired', async () => {
    let good = 'OLD'
    await using bucket = await s3(undefined, (key) => key === good)
    const write = (key: string) =>
      writeFile(
        join(folder.path, 'credentials'),
        `[default]\naws_access_key_id=${key}\naws_secret_access_key=secret\naws_session_token=t\n`,
      )
    await write('OLD')
    using objects = await bucket.open()
    for (let i = 0; i < 2; i++) await objects.get('k')
    good = 'NEW'
    const expired = await failure(objects.get('k'))
    expect(expired.code).toBe('denied')
    expect(expired.message).toMatch(/HTTP status 400, ExpiredToken/)
    await write('NEW')
    for (let i = 0; i < 2; i++) expect(await objects.get('k')).toEqual(new Uint8Array(BODY))
    await objects.put('k', BODY)
    expect(bucket.readers.slice(-2)).toEqual(['NEW t', 'NEW t'])
  })

  it('that are nowhere are asked for, and not those of an instance that is none', async () => {
    await using bucket = await s3()
    using objects = await bucket.open()
    const { code, message } = await failure(objects.get('k'))
    expect(code).toBe('denied')
    expect(message).toMatch(/no credentials .*AWS_ACCESS_KEY_ID.*aws_skip_signature/)
    expect(bucket.requests).toEqual([])
  })

  it('that have expired and cannot be renewed are a source that is away, not a refusal', async () => {
    let isDown = false
    await using bucket = await s3((response, request) => {
      const expiration = new Date(Date.now() + 200).toISOString()
      const credentials = { AccessKeyId: 'K', SecretAccessKey: 's', Token: 't', Expiration: expiration }
      return (isDown ? broken : json(credentials))(response, request)
    })
    setEnv({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `${bucket.origin}/container` })
    using objects = await bucket.open()
    await objects.get('k')
    isDown = true
    const until200 = performance.now() + 250
    await until(async () => performance.now() > until200)
    const { code, message } = await failure(objects.get('k'))
    expect(code).toBe('unavailable')
    expect(message).toContain('could not be renewed')
  })

  it('follow the clock of the server when ours is wrong', async () => {
    const server = new Date(Date.now() + 3 * 3_600_000)
    const times: string[] = []
    await using bucket = await startHttpServer((response, request) => {
      const text = String(request.headers['x-amz-date'])
      times.push(text)
      response.setHeader('date', server.toUTCString())
      const iso = text.replace(/(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\d)Z/, '$1-$2-$3:$4:$5Z')
      if (Math.abs(Date.parse(iso) - server.getTime()) < 900_000) return object(response, request)
      response.writeHead(403, { 'content-type': 'application/xml' })
      return response.end('<Error><Code>RequestTimeTooSkewed</Code><Message>too large</Message></Error>')
    })
    setEnv({ AWS_ACCESS_KEY_ID: 'ENV', AWS_SECRET_ACCESS_KEY: 'secret' })
    const url = `s3://bucket/p?aws_endpoint_url=${bucket.url.origin}&aws_allow_http=1`
    using objects = await openBucket(parseBucketUrl(url), QUICK)
    expect(await objects.get('k')).toEqual(new Uint8Array(BODY))
    expect(await objects.get('k')).toEqual(new Uint8Array(BODY))
    expect(times).toHaveLength(3)
  })
})

describe('Google', () => {
  const open = (origin: string, query = '') =>
    openBucket(parseBucketUrl(`gs://bucket/p?google_base_url=${origin}&allow_http=1${query}`), QUICK)

  /** The metadata server of an instance, and the bucket. */
  async function google(token: Answer) {
    const readers: string[] = []
    const server = await startHttpServer((response, request) => {
      if (request.url!.startsWith('/storage/')) {
        readers.push(String(request.headers.authorization))
        return object(response, request)
      }
      if (request.url!.includes('/token')) return token(response, request)
      return response.writeHead(200, { 'metadata-flavor': 'Google' }).end('x')
    })
    return { readers, server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  }

  function tokens(isDown = () => false): Answer {
    let made = 0
    return (response, request) => {
      const token = { access_token: `token${++made}`, expires_in: SOON_MS / 1000, token_type: 'Bearer' }
      const answer = json(token, { 'metadata-flavor': 'Google' })
      return (isDown() ? broken : answer)(response, request)
    }
  }

  const METADATA: [string, (server: URL) => Promise<Record<string, string>>] = [
    'the metadata of an instance',
    async (server) => ({ GCE_METADATA_HOST: server.host }),
  ]
  const WORKLOAD: [string, (server: URL) => Promise<Record<string, string>>] = [
    'the workload identity of a pod elsewhere',
    async (server) => {
      const file = join(folder.path, 'external.json')
      await writeFile(join(folder.path, 'jwt'), 'the-jwt')
      const account = {
        type: 'external_account',
        audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        token_url: `${server.origin}/v1/token`,
        credential_source: { file: join(folder.path, 'jwt') },
      }
      await writeFile(file, JSON.stringify(account))
      return { GOOGLE_APPLICATION_CREDENTIALS: file, GCE_METADATA_HOST: server.host }
    },
  ]

  describe.each([METADATA, WORKLOAD])('credentials from %s', (_, env) => {
    it('are taken, and renewed before they expire', async () => {
      await using cloud = await google(tokens())
      setEnv(await env(cloud.server.url))
      using objects = await open(cloud.server.url.origin)
      for (let i = 0; i < 2; i++) await objects.get('k')
      expect(cloud.readers).toEqual(['Bearer token1', 'Bearer token2'])
    })

    it('that cannot be renewed serve until they expire', async () => {
      let isDown = false
      await using cloud = await google(tokens(() => isDown))
      setEnv(await env(cloud.server.url))
      using objects = await open(cloud.server.url.origin)
      await objects.get('k')
      isDown = true
      expect(await objects.get('k')).toEqual(new Uint8Array(BODY))
      expect(cloud.readers).toEqual(['Bearer token1', 'Bearer token1'])
    })
  })

  it('that were never to be had are a refusal when the server says so, and a source that is away when it does not', async () => {
    for (const [status, code] of [
      [404, 'denied'],
      [500, 'unavailable'],
    ] as const) {
      await using cloud = await google((response) =>
        response.writeHead(status, { 'metadata-flavor': 'Google' }).end(),
      )
      setEnv({ GCE_METADATA_HOST: cloud.server.url.host })
      using objects = await openBucket(
        parseBucketUrl(`gs://bucket/p?google_base_url=${cloud.server.url.origin}&allow_http=1`),
        { retryMs: [], silenceMsMax: 20_000 },
      )
      const { code: got, message } = await failure(objects.get('k'))
      expect(got).toBe(code)
      expect(message).toMatch(/credentials/)
    }
  })

  it('are those of the service account of the address, without a word on standard error', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' })
    const account = {
      type: 'service_account',
      client_email: 'me@project',
      private_key: key,
      private_key_id: '1',
    }
    const file = join(folder.path, 'account.json')
    await writeFile(file, JSON.stringify(account))
    using byFile = await open('http://127.0.0.1:1', `&google_service_account=${file}`)
    const inline = encodeURIComponent(JSON.stringify(account))
    using byText = await open('http://127.0.0.1:1', `&google_service_account_key=${inline}`)
    expect([byFile.name, byText.name]).toEqual(['gs://bucket/p/', 'gs://bucket/p/'])
    expect(warn).not.toHaveBeenCalled()
    warn.mockRestore()
  })

  it.each([
    ['google_service_account=/no/such/file', /cannot read the service account: ENOENT/],
    ['google_service_account_key=top-secret', /google_service_account_key is no JSON/],
    ['google_service_account_key={"private_key":"top-secret"}', /lacks client_email or private_key/],
    ['google_service_account_key=[]', /lacks client_email/],
    ['google_service_account_key=1', /is no JSON/],
    ['google_service_account=/x&google_service_account_key={}', /exclude each other/],
  ])('that are none are refused at once: %s', async (query, why) => {
    const { code, message } = await failure(open('http://127.0.0.1:1', `&${query}`))
    expect(code).toBe('invalid-argument')
    expect(message).toMatch(why)
    expect(message).not.toContain('top-secret')
  })
})

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const piece of request) text += String(piece)
  return text
}

function byNumber(a: string, b: string): number {
  return Number(/\d+/.exec(a)![0]) - Number(/\d+/.exec(b)![0])
}
