/** Where a bucket of S3 is looked for: regions, endpoints and proxies, by the SDK and by the reads past it alike. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { parseBucketUrl } from '../../../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../../../src/services/objects/open.ts'
import { type Answer, startHttpServer } from '../../../support/http-server.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const BODY = Buffer.from('the object')
const QUICK = { retryMs: [1], silenceMsMax: 5_000 }
const SIGNED = 'aws_access_key_id=AKIATEST&aws_secret_access_key=top-secret'
const object: Answer = (response) =>
  response.writeHead(200, { 'content-length': String(BODY.length) }).end(BODY)

let folder: Awaited<ReturnType<typeof tempDir>>
beforeEach(async () => {
  folder = await tempDir()
  for (const name of Object.keys(process.env)) if (/^AWS_|_proxy$/i.test(name)) vi.stubEnv(name, undefined)
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
  vi.stubEnv('AWS_CONFIG_FILE', join(folder.path, 'config'))
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder.path, 'credentials'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await folder[Symbol.asyncDispose]()
})

/** A server, and who asked it how. */
async function serverOf(answer: (region: string | undefined) => Answer) {
  const asked: string[] = []
  const server = await startHttpServer((response, request) => {
    const region = /Credential=[^/]+\/\d+\/([^/]+)/.exec(request.headers.authorization ?? '')?.[1]
    const by = request.headers['amz-sdk-request'] ? 'sdk' : 'us'
    asked.push(`${by} ${request.method} ${request.url!.split('?')[0]} ${region}`)
    return answer(region)(response, request)
  })
  return {
    asked,
    origin: server.url.origin,
    query: `aws_endpoint_url=${server.url.origin}&aws_allow_http=1&${SIGNED}`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const open = (query: string) => openBucket(parseBucketUrl(`s3://bucket/p?${query}`), QUICK)

const refusal =
  (status: number, name: string, more = '', header = {}): Answer =>
  (response, { method }) =>
    response
      .writeHead(status, { 'content-type': 'application/xml', ...header })
      .end(method === 'HEAD' ? undefined : `<Error><Code>${name}</Code><Message>no</Message>${more}</Error>`)

const HEADER = { 'x-amz-bucket-region': 'eu-west-1' }
const MOVED: Record<string, Answer> = {
  'a redirect': refusal(301, 'PermanentRedirect', '', HEADER),
  'a redirect for a while': refusal(307, 'TemporaryRedirect', '', HEADER),
  'a signature for another region': refusal(
    400,
    'AuthorizationHeaderMalformed',
    '<Region>eu-west-1</Region>',
  ),
}

it.each(Object.entries(MOVED))('goes to the region that is told by %s, once for all', async (_, moved) => {
  await using server = await serverOf((region) => (region === 'eu-west-1' ? object : moved))
  using bucket = await open(server.query)
  // Together, as a copy begins: each is sent elsewhere.
  await Promise.all([bucket.get('a'), bucket.get('b'), bucket.put('c', BODY)])
  const before = server.asked.length
  expect(await bucket.get('d')).toEqual(new Uint8Array(BODY))
  expect(await bucket.head('e')).toBe(BODY.length)
  expect(server.asked.slice(before)).toEqual([
    'us GET /bucket/p/d eu-west-1',
    'sdk HEAD /bucket/p/e eu-west-1',
  ])
})

it('asks for the region where a refusal of HEAD does not tell it', async () => {
  const { 'a signature for another region': moved } = MOVED
  await using server = await serverOf((region) => (region === 'eu-west-1' ? object : moved!))
  using bucket = await open(server.query)
  expect(await bucket.head('k')).toBe(BODY.length)
  expect(server.asked.map((each) => each.replace(/^sdk /, ''))).toEqual([
    'HEAD /bucket/p/k us-east-1',
    ...['us-east-1', 'eu-west-1'].map((region) => `GET /bucket/ ${region}`),
    'HEAD /bucket/p/k eu-west-1',
  ])
})

it('goes back to the region that was named', async () => {
  let home = 'eu-west-1'
  const moved: Answer = (response, request) =>
    refusal(301, 'PermanentRedirect', '', { 'x-amz-bucket-region': home })(response, request)
  await using server = await serverOf((region) => (region === home ? object : moved))
  using bucket = await open(server.query)
  await bucket.put('k', BODY)
  home = 'us-east-1'
  await bucket.put('k', BODY)
  expect(server.asked.map((each) => each.split(' ').at(-1))).toEqual([
    'us-east-1',
    ...['eu-west-1', 'eu-west-1'],
    'us-east-1',
  ])
})

it.each([
  ['that is the one it was asked in', HEADER],
  ['that is no name', { 'x-amz-bucket-region': 'evil.example/?' }],
  ['that it does not tell', {}],
])('does not go round in circles after a redirect to a region %s', async (_, header) => {
  await using server = await serverOf(() => refusal(301, 'PermanentRedirect', '', header))
  using bucket = await open(`${server.query}&aws_region=eu-west-1`)
  await expect(bucket.get('k')).rejects.toThrow(/HTTP status 301, PermanentRedirect/)
  expect(server.asked).toHaveLength(1)
})

it.each([
  ['us-east-1', {}, '', ''],
  ['of-env', { AWS_REGION: 'of-env', AWS_DEFAULT_REGION: 'x' }, '[default]\nregion = x', ''],
  ['of-default', { AWS_DEFAULT_REGION: 'of-default' }, '', ''],
  ['of-profile', { AWS_PROFILE: 'p' }, '[profile p]\nregion = of-profile', ''],
  ['of-profile', {}, '[profile p]\nregion = of-profile', '&aws_profile=p'],
  ['of-address', { AWS_REGION: 'x' }, '', '&aws_region=of-address'],
])('asks in the region %s with %o', async (region, env, config, query) => {
  await writeFile(join(folder.path, 'config'), config)
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  await using server = await serverOf(() => object)
  using bucket = await open(server.query + query)
  await bucket.get('k')
  expect(server.asked).toEqual([`sdk GET /bucket/p/k ${region}`])
})

it.each(['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3'])('finds buckets at %s by their paths', async (name) => {
  await using server = await serverOf(() => object)
  // A name, and no number, is what a bucket's own name would be put in front of.
  vi.stubEnv(name, server.origin.replace('127.0.0.1', 'localhost'))
  using bucket = await open(SIGNED)
  for (let i = 0; i < 2; i++) expect(await bucket.get('k')).toEqual(new Uint8Array(BODY))
  expect(server.asked.map((each) => each.split(' ')[2])).toEqual(['/bucket/p/k', '/bucket/p/k'])
})

it('asks by way of a proxy, each time', async () => {
  await using proxy = await serverOf(() => object)
  vi.stubEnv('http_proxy', proxy.origin)
  using bucket = await open(`aws_endpoint_url=http://s3.example&aws_allow_http=1&${SIGNED}`)
  for (let i = 0; i < 2; i++) expect(await bucket.get('k')).toEqual(new Uint8Array(BODY))
  // Large enough for the SDK to expect a `100 Continue`.
  await bucket.put('k', new Uint8Array(3 * 1024 * 1024))
  const get = 'sdk GET http://s3.example/bucket/p/k us-east-1'
  expect(proxy.asked).toEqual([get, get, get.replace('GET', 'PUT')])
})
