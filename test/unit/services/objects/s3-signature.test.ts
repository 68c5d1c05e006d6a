import { expect, test } from 'vitest'
import { S3ReadSigner } from '../../../../src/services/objects/s3-signature.ts'

const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
}
const NOON = new Date('2013-05-24T00:00:00.000Z')

test("signs the example of Amazon's documentation of S3 as it does", () => {
  const url = new URL('https://examplebucket.s3.amazonaws.com/test.txt')
  const headers = new S3ReadSigner('us-east-1').headers(url, 'bytes=0-9', CREDENTIALS, NOON)
  expect(headers).toEqual({
    host: 'examplebucket.s3.amazonaws.com',
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
