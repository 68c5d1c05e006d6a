import { expect, it } from 'vitest'
import { parseBucketUrl } from '../../../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../../../src/services/objects/open.ts'
import type { RequestPolicy } from '../../../../src/services/requests.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { type Answer, startHttpServer } from '../../../support/http-server.ts'

const BODY = Buffer.from('the object')
const QUICK: Partial<RequestPolicy> = { retryMs: [1, 1], overloadRetryMs: [], silenceMsMax: 5_000 }
const SIGNED = 'aws_access_key_id=AKIATEST&aws_secret_access_key=top-secret'

const object: Answer = (response) =>
  response.writeHead(200, { 'content-length': String(BODY.length) }).end(BODY)
const part: Answer = (response) =>
  response
    .writeHead(206, { 'content-length': '3', 'content-range': `bytes 0-2/${BODY.length}` })
    .end(BODY.subarray(0, 3))
const listing: Answer = (response) =>
  response.writeHead(200).end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
const refusal =
  (status: number, name: string): Answer =>
  (response) =>
    response
      .writeHead(status, { 'content-type': 'application/xml' })
      .end(`<?xml version="1.0"?><Error><Code>${name}</Code><Message>says why</Message></Error>`)

/** The first read is the SDK's; `later` answers what comes after it. */
async function bucketOf(later: Answer, query = SIGNED, prefix = 'p q') {
  const asked: { by: 'sdk' | 'us'; url: string; authorization: string | undefined }[] = []
  const server = await startHttpServer((response, request) => {
    const { headers, url = '' } = request
    const by = headers['amz-sdk-request'] ? 'sdk' : 'us'
    asked.push({ by, url, authorization: headers.authorization })
    return asked.length === 1 ? object(response, request) : later(response, request)
  })
  const address = `s3://bucket/${encodeURIComponent(prefix)}?aws_endpoint_url=${server.url.origin}&aws_allow_http=1&${query}`
  const objects = await openBucket(parseBucketUrl(address), QUICK)
  await objects.get('first')
  return {
    objects,
    /** Who asked for what since then. */
    get asked() {
      return asked.slice(1)
    },
    first: asked[0]!,
    async [Symbol.asyncDispose]() {
      objects[Symbol.dispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

it('asks for an object where the SDK would, and proves who asks', async () => {
  await using bucket = await bucketOf(object)
  expect(await bucket.objects.get('chunks/b3/x')).toEqual(new Uint8Array(BODY))
  const [asked] = bucket.asked
  expect(asked!.by).toBe('us')
  expect(asked!.url).toBe(bucket.first.url.split('?')[0]!.replace('first', 'chunks/b3/x'))
  const credential = /Credential=\S+/
  expect(credential.exec(asked!.authorization!)![0]).toBe(credential.exec(bucket.first.authorization!)![0])
})

it('asks for a part', async () => {
  await using bucket = await bucketOf(part)
  const found = await bucket.objects.get('k', { range: { start: 0, end: 3 } })
  expect(found).toEqual(new Uint8Array(BODY.subarray(0, 3)))
  expect(bucket.asked.map(({ by }) => by)).toEqual(['us'])
})

it('proves nothing where the SDK does not', async () => {
  await using bucket = await bucketOf(object, 'aws_skip_signature=true')
  expect(await bucket.objects.get('k')).toEqual(new Uint8Array(BODY))
  expect(bucket.asked).toMatchObject([{ by: 'us', authorization: undefined }])
})

it('takes the code NoSuchKey, and nothing else, for absence', async () => {
  await using bucket = await bucketOf((response, request) =>
    (request.url!.includes('list-type') ? listing : refusal(404, 'NoSuchKey'))(response, request),
  )
  expect(await bucket.objects.get('k')).toBeUndefined()
  expect(bucket.asked[0]!.by).toBe('us')
  await using gone = await bucketOf(refusal(404, 'NoSuchBucket'))
  await expect(gone.objects.get('k')).rejects.toThrow(/NoSuchBucket/)
})

it.each([
  [403, 'AccessDenied', 'denied'],
  [400, 'ExpiredToken', 'denied'],
  [403, 'RequestTimeTooSkewed', 'unavailable'],
  [416, 'InvalidRange', undefined],
])('lets the SDK say what %s %s means', async (status, name, code) => {
  await using bucket = await bucketOf(refusal(status, name))
  const outcome = await bucket.objects
    .get('k', { range: { start: 5, end: 9 } })
    .catch((error: unknown) => error)
  expect(bucket.asked.slice(0, 2).map(({ by }) => by)).toEqual(['us', 'sdk'])
  if (code === undefined) expect(outcome).toEqual(new Uint8Array(0))
  else expect((outcome as StoreError).code).toBe(code)
  if (outcome instanceof StoreError) expect(outcome.message).not.toContain('top-secret')
})
