import { describe, expect, test } from 'vitest'
import { parseGrpcAddress } from '../../../src/services/grpc-address.ts'
import { StoreError } from '../../../src/support/errors.ts'

describe('accepted', () => {
  test.each([
    ['grpc+http://localhost', 'dns:localhost:80'],
    ['grpc+https://localhost', 'dns:localhost:443'],
    ['grpc+http://[::1]:12345', 'dns:[::1]:12345'],
    ['grpc+http://store.example:8000?wait-connect=0', 'dns:store.example:8000'],
    ['grpc+unix:///path/to/somewhere', 'unix:/path/to/somewhere'],
    ['grpc+unix:/path/to/somewhere', 'unix:/path/to/somewhere'],
    ['grpc+unix:///with%20space', 'unix:/with space'],
    ['grpc+http://localhost?what=ever', 'dns:localhost:80'],
  ])('%s', (text, target) => {
    expect(parseGrpcAddress(text)).toMatchObject({ text, target, waitConnect: false })
  })

  test('TLS files belong to https', () => {
    const text =
      'grpc+https://h?tls-ca-cert-path=/ca&tls-client-cert-path=/cert&tls-client-key-path=/key&wait-connect=1'
    const { tls, waitConnect } = parseGrpcAddress(text)
    expect({ tls, waitConnect }).toEqual({
      tls: { ca: '/ca', clientCert: '/cert', clientKey: '/key' },
      waitConnect: true,
    })
    expect(parseGrpcAddress('grpc+http://h').tls).toBeUndefined()
  })

  test.each([
    'grpc+https://h',
    'grpc+unix:/socket',
    'grpc+http://localhost:1',
    'grpc+http://127.0.0.2:1',
    'grpc+http://[::1]:1',
  ])('a token for %s', (text) => {
    expect(parseGrpcAddress(`${text}?token-file=/t`).tokenFile).toBe('/t')
    expect(parseGrpcAddress(text).tokenFile).toBeUndefined()
  })
})

describe('refused', () => {
  test.each([
    ['http://localhost', 'grpc+ prefix is missing'],
    ['nix+grpc://example.com', 'grpc+ prefix is missing'],
    ['grpc+ftp://h', 'unknown scheme'],
    ['grpc+http://localhost/some-path', 'path may not be set'],
    ['grpc+http://localhost/', 'path may not be set'],
    ['grpc+http://', 'host is missing'],
    ['grpc+http://h:port', 'not a URL'],
    ['grpc+unix:/%zz', 'not a URL'],
    ['grpc+unix://host.example/path/to/somewhere', 'host may not be set'],
    ['grpc+unix:relative', 'must be absolute'],
    ['grpc+http://h?wait-connect=yes', 'wait-connect is 0 or 1'],
    ['grpc+http://store.example?token-file=/t', 'the token would cross the network in the clear'],
    ['grpc+http://127.0.0.1.example?token-file=/t', 'the token would cross the network in the clear'],
    ['grpc+http://h?tls-ca-cert-path=/ca', 'need grpc+https'],
    ['grpc+https://h?tls-client-cert-path=/cert', 'go together'],
  ])('%s', (text, why) => {
    expect(() => parseGrpcAddress(text)).toThrow(StoreError)
    expect(() => parseGrpcAddress(text)).toThrow(why)
  })
})
