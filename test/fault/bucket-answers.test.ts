/**
 * Buckets behind a server that does something else with every request, and readers that leave at any moment: right
 * bytes or an error, absence only where there is nothing, and no connection left behind.
 */
import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { parseBucketUrl } from '../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../src/services/objects/open.ts'
import { StoreError } from '../../src/support/errors.ts'
import { until } from '../support/cli.ts'
import { type Answer, startHttpServer } from '../support/http-server.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { FULL } from '../support/requirements.ts'

const OPERATIONS = FULL ? 4_000 : 400
const AT_ONCE = 20
const ABSENT = {
  xml: '<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>',
  azure: '<?xml version="1.0"?><Error><Code>BlobNotFound</Code><Message>no</Message></Error>',
  json: '{"error":{"code":404,"message":"No such object","errors":[{"reason":"notFound"}]}}',
}
const LISTING = {
  S3: '<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated></ListBucketResult>',
  Google: '{"kind":"storage#objects"}',
  Azure: '<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>',
  HTTP: '',
}
/** The SDK of Azure takes what has no type for JSON. */
const TYPE = {
  S3: { 'content-type': 'application/xml' },
  Google: { 'content-type': 'application/json' },
  Azure: { 'content-type': 'application/xml' },
  HTTP: {},
}
const KINDS = {
  S3: {
    url: (url: URL) =>
      `s3://bucket/p?aws_endpoint_url=${url.origin}&aws_allow_http=1&aws_access_key_id=A&aws_secret_access_key=s`,
    absent: ABSENT.xml,
  },
  Google: {
    url: (url: URL) => `gs://bucket/p?google_base_url=${url.origin}&allow_http=1&google_skip_signature=1`,
    absent: ABSENT.json,
  },
  Azure: {
    url: (url: URL) =>
      `az://bucket/p?azure_storage_use_emulator=1&azure_storage_endpoint=${url.origin}&azure_storage_account_key=cw==`,
    absent: ABSENT.azure,
  },
  HTTP: { url: (url: URL) => `${url.origin}/p`, absent: '' },
}

/** Draws that are the same in every run, as far as the order of requests is. */
function drawer(seed: number): (end: number) => number {
  const words = new Uint32Array(pseudoRandom(4 * 100_000, seed).buffer)
  let used = 0
  return (end) => words[used++ % words.length]! % end
}

const bodyOf = (key: string) => Buffer.from(`the contents of ${key}. `.repeat(200))

it.each(Object.keys(KINDS) as (keyof typeof KINDS)[])(
  'a bucket of %s',
  { timeout: 300_000 },
  async (kind) => {
    const draw = drawer(kind.length)
    const sockets = new Set<Socket>()
    const honest: Answer = (response, request) => {
      const key = /(here|absent)-\d+/.exec(decodeURIComponent(request.url ?? ''))?.[0]
      if (key === undefined) return response.writeHead(200, TYPE[kind]).end(LISTING[kind])
      if (key.startsWith('absent')) {
        const code = kind === 'Azure' ? { 'x-ms-error-code': 'BlobNotFound' } : {}
        return response.writeHead(404, { 'content-type': 'application/xml', ...code }).end(KINDS[kind].absent)
      }
      const body = bodyOf(key)
      const isSize = kind === 'Google' && !request.url!.includes('alt=media')
      if (isSize) return response.end(JSON.stringify({ size: String(body.length) }))
      return response.writeHead(200, { 'content-length': String(body.length), etag: '"1"' }).end(body)
    }
    const misdeeds: readonly Answer[] = [
      (response) => response.destroy(),
      (response) => response.socket!.resetAndDestroy(),
      (response) => response.writeHead(503, { 'retry-after': '0' }).end('busy'),
      (response) => response.writeHead(500).end(Buffer.alloc(200_000, 'x')),
      (response) => response.writeHead(403).end(),
      (response) =>
        response
          .writeHead(200, { 'content-length': '5000', etag: '"1"' })
          .write('half', () => response.destroy()),
      (response) => response.writeHead(204).end(),
      (response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      (response) => response.socket!.end('this is no HTTP\r\n\r\n'),
      () => {}, // and never anything
      (response) => response.writeHead(200, { etag: '"1"' }).flushHeaders(),
      (response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<html>no such page</html>'),
    ]
    await using server = await startHttpServer((response, request) => {
      if (!sockets.has(request.socket)) request.socket.once('close', () => sockets.delete(request.socket))
      sockets.add(request.socket)
      return (draw(3) > 0 ? honest : misdeeds[draw(misdeeds.length)]!)(response, request)
    })
    const policy = { retryMs: [1], overloadRetryMs: [], silenceMsMax: 150 }
    const outcomes = { right: 0, absent: 0, failed: 0 }
    {
      using objects = await openBucket(parseBucketUrl(KINDS[kind].url(server.url)), policy)
      const attempt = async (index: number) => {
        const isHere = index % 4 > 0
        const key = `${isHere ? 'here' : 'absent'}-${index}`
        const controller = new AbortController()
        if (draw(5) === 0) setTimeout(() => controller.abort(), draw(20))
        const call = { signal: controller.signal }
        try {
          const asksSize = draw(4) === 0
          const found = asksSize ? await objects.head(key, call) : await objects.get(key, call)
          // Only the words of S3 tell a page that says 404 from an object that is absent; and 200 to HEAD is presence.
          if (found === undefined && isHere && kind === 'S3' && !asksSize)
            expect.fail(`${key} is said to be absent`)
          if (found instanceof Uint8Array) expect(Buffer.compare(found, bodyOf(key)), key).toBe(0)
          outcomes[found === undefined ? 'absent' : 'right']++
        } catch (error) {
          if (!(error instanceof StoreError)) throw error
          expect(error.code, error.message).toMatch(
            /^(unavailable|deadline|cancelled|denied|corrupt|precondition)$/,
          )
          outcomes.failed++
        }
      }
      for (let index = 0; index < OPERATIONS; index += AT_ONCE)
        await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => attempt(index + i)))
    }
    console.log(`${kind}: ${JSON.stringify(outcomes)}`)
    expect(outcomes.right).toBeGreaterThan(OPERATIONS / 10)
    expect(outcomes.absent).toBeGreaterThan(0)
    expect(outcomes.failed).toBeGreaterThan(0)
    // The SDK of Azure keeps idle connections for the whole process.
    if (kind !== 'Azure') await until(async () => sockets.size === 0)
  },
)
