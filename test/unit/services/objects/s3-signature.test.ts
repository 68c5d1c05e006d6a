import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { S3ReadSigner } from '../../../../src/services/objects/s3-signature.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'

const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
}
const NOON = new Date('2013-05-24T00:00:00.000Z')

test("signs the example of Amazon's documentation of S3 as it does", () => {
  const url = new URL('https://examplebucket.s3.amazonaws.com/test.txt')
  const headers = new S3ReadSigner('us-east-1').headers(url, 'bytes=0-9', CREDENTIALS, NOON)
  expect(headers).toEqual({
    range: 'bytes=0-9',
    'x-amz-content-sha256': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    'x-amz-date': '20130524T000000Z',
    authorization:
      'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  })
})

test('signs the token of a session, and follows the day and the secret', () => {
  const signer = new S3ReadSigner('eu-west-1')
  const url = new URL('http://127.0.0.1:9000/bucket/key')
  const signature = (credentials: Parameters<S3ReadSigner['headers']>[2], now: Date) =>
    signer.headers(url, undefined, credentials, now)['authorization']!.split('Signature=')[1]!
  const all = [
    signature(CREDENTIALS, NOON),
    signature(CREDENTIALS, new Date('2013-05-25T00:00:00.000Z')),
    signature({ ...CREDENTIALS, secretAccessKey: 'another' }, NOON),
    signature({ ...CREDENTIALS, sessionToken: 'token' }, NOON),
  ]
  expect(new Set(all).size).toBe(all.length)
  expect(signature(CREDENTIALS, NOON)).toBe(all[0])
  const { authorization } = signer.headers(url, undefined, { ...CREDENTIALS, sessionToken: 'token' }, NOON)
  expect(authorization).toContain('SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,')
})

/** As far as signing takes notice of it. */
interface HttpRequest {
  readonly method: string
  readonly protocol: string
  readonly hostname: string
  readonly path: string
  readonly query: Record<string, string>
  readonly headers: Record<string, string>
}

/** What the SDK signs with; it is installed wherever the SDK is. */
async function sdkSigner(): Promise<typeof import('@smithy/signature-v4') | undefined> {
  try {
    const sdk = createRequire(import.meta.url).resolve('@aws-sdk/client-s3')
    return createRequire(sdk)('@smithy/signature-v4')
  } catch {
    return undefined
  }
}

const theirs = await sdkSigner()
const ALPHABET = [
  'a',
  'Z',
  '9',
  '-',
  '_',
  '.',
  '~',
  '/',
  ' ',
  '+',
  '&',
  '=',
  '%',
  '!',
  "'",
  '(',
  '*',
  ')',
  ',',
  ';',
  ':',
  '@',
  '$',
  'ä',
  '雪',
  '🦀',
  '"',
]

test.skipIf(!theirs)('signs as the SDK does: 200 random requests', async () => {
  const random = draws(20130524)
  for (let i = 0; i < 200; i++) {
    const region = random.pick(['us-east-1', 'auto', 'eu-central-1', 'x'])
    const credentials = {
      accessKeyId: random.text(20),
      secretAccessKey: random.text(40),
      ...(random.below(2) === 0 && { sessionToken: random.text(300) }),
    }
    const host = random.pick(['bucket.s3.amazonaws.com', '127.0.0.1:9000', '[::1]:8080', 'h'])
    const path = Array.from({ length: random.below(40) }, () => random.pick(ALPHABET)).join('')
    const url = new URL(`https://${host}/${encodeURIComponent(path).replaceAll('%2F', '/')}`)
    const range = random.below(2) === 0 ? undefined : `bytes=${random.below(1e9)}-${random.below(1e9)}`
    const now = new Date(random.below(4e12))
    const signer = new theirs!.SignatureV4({
      service: 's3',
      region,
      credentials,
      sha256: Sha256 as never,
      uriEscapePath: false,
      applyChecksum: true,
    })
    const request = {
      method: 'GET',
      protocol: 'https:',
      hostname: url.hostname,
      path: url.pathname,
      query: {},
      headers: { host: url.host, ...(range && { range }) },
    }
    const { headers } = (await signer.sign(request as HttpRequest, { signingDate: now })) as HttpRequest
    const ours = new S3ReadSigner(region).headers(url, range, credentials, now)
    expect({ host: url.host, ...ours }).toEqual(headers)
  }
})

/** Choices that are the same in every run. */
function draws(seed: number) {
  const words = new Uint32Array(pseudoRandom(4 * 200_000, seed).buffer)
  let used = 0
  const below = (end: number) => Math.floor((words[used++]! / 2 ** 32) * end)
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!
  const text = (length: number) => Array.from({ length }, () => pick([...'ABCxyz0189+/='])).join('')
  return { below, pick, text }
}

/** As the SDK wants its hashes. */
class Sha256 {
  readonly #hash: Hash | Hmac

  constructor(secret?: string | Uint8Array) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret)
  }

  update(data: string | Uint8Array): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {}
}
