import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { parseBucketUrl } from '../../../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../../../src/services/objects/open.ts'
import type { RequestPolicy } from '../../../../src/services/requests.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { collect } from '../../../support/collect.ts'
import { type Answer, startHttpServer } from '../../../support/http-server.ts'

/** Answers that no server in its right mind gives: none may pass for absence, for presence or for other bytes. */

const S3 = (url: URL) =>
  `s3://bucket/p?aws_endpoint_url=${url.origin}&aws_allow_http=1&aws_access_key_id=AKIATEST&aws_secret_access_key=top-secret&aws_session_token=top-secret`
const KINDS = {
  S3,
  'S3, past its SDK': S3,
  Google: (url: URL) => `gs://bucket/p?google_base_url=${url.origin}&allow_http=1&google_skip_signature=1`,
  Azure: (url: URL) =>
    `az://bucket/p?azure_storage_use_emulator=1&azure_storage_endpoint=${url.origin}&azure_storage_account_key=dG9wLXNlY3JldA==`,
  HTTP: (url: URL) => `http://me:top-secret@${url.host}/p?allow_http=1`,
}
type Kind = keyof typeof KINDS

const QUICK: Partial<RequestPolicy> = { retryMs: [1, 1], overloadRetryMs: [], silenceMsMax: 5_000 }
const BODY = Buffer.from('the object')
const RANGE = { range: { start: 4, end: 7 } }

/** The first read of S3 is the SDK's, those after it are ours. */
async function bucketOf(kind: Kind, answer: Answer, policy: Partial<RequestPolicy> = {}) {
  let isReady = kind !== 'S3, past its SDK'
  const server = await startHttpServer((response, request) => (isReady ? answer : whole)(response, request))
  const objects = await openBucket(parseBucketUrl(KINDS[kind](server.url)), { ...QUICK, ...policy })
  if (!isReady) await objects.get('first')
  isReady = true
  const before = server.requests.length
  return {
    objects,
    get requests() {
      return server.requests.slice(before)
    },
    async [Symbol.asyncDispose]() {
      objects[Symbol.dispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

const answer =
  (status: number, headers: Record<string, string>, body: string | Uint8Array = ''): Answer =>
  (response) =>
    response.writeHead(status, { etag: '"1"', 'content-length': String(body.length), ...headers }).end(body)
const whole = answer(200, {}, BODY)
const LOGIN = '<!DOCTYPE html><html><head><title>Log in</title></head><body><a href="/">x</a></body></html>'
const loginPage = answer(200, { 'content-type': 'text/html' }, LOGIN)

const S3_PAGE =
  '<ListBucketResult><Name>bucket</Name><IsTruncated>true</IsTruncated><Contents><Key>p/k</Key></Contents><NextContinuationToken>more</NextContinuationToken></ListBucketResult>'

async function failure(work: Promise<unknown>): Promise<StoreError> {
  const outcome = await work.catch((error: unknown) => error)
  if (!(outcome instanceof StoreError)) throw new Error(`it did not fail, but gave ${String(outcome)}`)
  expect(outcome.message).not.toContain('top-secret')
  expect(outcome.code, 'a server would tell its client of absence').not.toBe('not-found')
  return outcome
}

const kinds = Object.keys(KINDS) as Kind[]

describe.each(kinds)('a range of %s', (kind) => {
  it('is cut from the whole where the server ignores ranges', async () => {
    await using bucket = await bucketOf(kind, whole)
    expect(await bucket.objects.get('k', RANGE)).toEqual(new Uint8Array(Buffer.from('obj')))
  })

  it.each([
    ['begins elsewhere', { 'content-range': 'bytes 3-5/10' }, ' ob'],
    ['is longer than what was asked for', { 'content-range': 'bytes 4-9/10' }, 'object'],
    ['ends before the object does', { 'content-range': 'bytes 4-5/10' }, 'ob'],
    ['does not say where it begins', {}, 'obj'],
    ['is not as long as it says', { 'content-range': 'bytes 4-6/10' }, 'ob'],
  ])('that %s is not taken for it', async (_, headers, body) => {
    await using bucket = await bucketOf(kind, answer(206, headers, body))
    expect((await failure(bucket.objects.get('k', RANGE))).code).toBe('corrupt')
  })

  it('may end with the object', async () => {
    await using bucket = await bucketOf(kind, answer(206, { 'content-range': 'bytes 8-9/10' }, 'ct'))
    expect(await bucket.objects.get('k', { range: { start: 8, end: 20 } })).toEqual(
      new Uint8Array(Buffer.from('ct')),
    )
  })
})

describe.each(kinds)('a bucket of %s', (kind) => {
  it.each([204, 202, 206])('does not take %s for an object', async (status) => {
    const body = status === 204 ? '' : 'ob'
    await using bucket = await bucketOf(kind, answer(status, { 'content-range': 'bytes 0-1/10' }, body))
    await failure(bucket.objects.get('k'))
  })

  it('heeds the pause that a busy server asks for, and does not insist when that is too long', async () => {
    await using bucket = await bucketOf(kind, answer(503, { 'retry-after': '100' }))
    const { code, message } = await failure(bucket.objects.get('k'))
    expect(code).toBe('unavailable')
    expect(message).toContain('100 s')
    expect(bucket.requests).toHaveLength(1)
  })

  it('is patient with an object that comes slowly but steadily', async () => {
    const slow: Answer = (response) => {
      response.writeHead(200, { 'content-length': String(BODY.length), etag: '"1"' })
      let sent = 0
      const timer = setInterval(() => {
        response.write(BODY.subarray(sent, ++sent))
        if (sent === BODY.length) {
          clearInterval(timer)
          response.end()
        }
      }, 150)
    }
    await using bucket = await bucketOf(kind, slow, { silenceMsMax: 1_000 })
    expect(await bucket.objects.get('k')).toEqual(new Uint8Array(BODY))
  })

  it('tells nobody else who it is, and takes nothing from there for absence', async () => {
    const strangers: IncomingMessage[] = []
    await using elsewhere = await startHttpServer((response, request) => {
      strangers.push(request)
      answer(
        404,
        { 'content-type': 'application/xml' },
        '<Error><Code>NoSuchKey</Code></Error>',
      )(response, request)
    })
    const location = `http://localhost:${elsewhere.url.port}/login/`
    await using bucket = await bucketOf(kind, answer(302, { location }))
    await failure(bucket.objects.get('k'))
    await failure(bucket.objects.head('k'))
    for (const { headers } of strangers)
      expect(JSON.stringify(headers)).not.toMatch(/top-secret|Credential|Basic/)
  })

  it('does not believe a login page', async () => {
    const portal: Answer = (response, request) =>
      (request.url === '/login/' ? loginPage : answer(302, { location: '/login/' }))(response, request)
    await using bucket = await bucketOf(kind, portal)
    // A web server may send us anywhere for an object, whose digest its reader compares.
    if (kind === 'HTTP') expect(await bucket.objects.get('k')).toEqual(new Uint8Array(Buffer.from(LOGIN)))
    else await failure(bucket.objects.get('k'))
    await failure(bucket.objects.head('k'))
    await failure(bucket.objects.put('k', BODY, { ifAbsent: true }))
    await failure(collect(bucket.objects.list('')))
  })

  it('does not take what is no listing for an empty one', async () => {
    for (const status of [200, 207]) {
      await using bucket = await bucketOf(kind, answer(status, { 'content-type': 'text/html' }, LOGIN))
      await failure(collect(bucket.objects.list('')))
      await using silent = await bucketOf(kind, answer(status, {}))
      await failure(collect(silent.objects.list('')))
    }
  })

  it('does not list the same page again and again', async () => {
    const pages: Record<Kind, string> = {
      S3: S3_PAGE,
      'S3, past its SDK': S3_PAGE,
      Google: '{"kind":"storage#objects","items":[{"name":"p/k"}],"nextPageToken":"more"}',
      Azure:
        '<EnumerationResults><Blobs><Blob><Name>p/k</Name><Properties/></Blob></Blobs><NextMarker>more</NextMarker></EnumerationResults>',
      HTTP: '<multistatus><response><href>/p/</href><collection/></response><response><href>/p/</href><collection/></response></multistatus>',
    }
    const status = kind === 'HTTP' ? 207 : 200
    await using bucket = await bucketOf(
      kind,
      answer(status, { 'content-type': 'application/xml' }, pages[kind]),
    )
    const listing = collect(bucket.objects.list(''))
    if (kind === 'HTTP') expect(await listing).toEqual([])
    else expect((await failure(listing)).code).toBe('corrupt')
  })

  it('tells of a refusal whose reason is a long page', async () => {
    const page = Buffer.alloc(10_000_000, LOGIN)
    await using bucket = await bucketOf(kind, answer(403, { 'content-type': 'text/html' }, page))
    expect((await failure(bucket.objects.get('k'))).code).toBe('denied')
  })

  it('says unavailable for what is not HTTP', async () => {
    await using bucket = await bucketOf(kind, (response) => response.socket!.end('SSH-2.0-OpenSSH_9.2p1\r\n'))
    expect((await failure(bucket.objects.get('k'))).code).toMatch(/unavailable|corrupt/)
  })
})

it.each([
  'null',
  '[]',
  '1',
  '{"kind":"storage#objects","items":{}}',
  '{"kind":"storage#objects","items":[null]}',
])('a listing of Google that is %s has no keys, and is no fault of ours', async (text) => {
  await using bucket = await bucketOf('Google', answer(200, { 'content-type': 'application/json' }, text))
  const listing = collect(bucket.objects.list(''))
  if (text.includes('null]')) expect(await listing).toEqual([])
  else expect((await failure(listing)).code).toBe('corrupt')
  expect((await failure(bucket.objects.head('k'))).code).toBe('corrupt')
})

it('does not take a listing of another place for an empty one', async () => {
  const elsewhere = '<multistatus><response><href>/q/</href><collection/></response></multistatus>'
  await using bucket = await bucketOf('HTTP', answer(207, { 'content-type': 'application/xml' }, elsewhere))
  expect(await failure(collect(bucket.objects.list('')))).toMatchObject({
    code: 'corrupt',
    message: expect.stringContaining('nothing that is below /p/'),
  })
})
