import { expect, test } from 'vitest'
import { explainNoConnection } from '../../../src/services/grpc-no-connection.ts'

/** Around what Node and OpenSSL say, grpc-js says this. */
const told = (reason: string) => `No connection established. Last error: ${reason}. Resolution note: `
const openssl = (reason: string) =>
  `80:error:0A:SSL routines:f:${reason}:../ssl/x.c:77:\n (2026-01-01T00:00:00.000Z)`

test.each([
  [
    'Error: connect ECONNREFUSED 127.0.0.1:1',
    'unavailable',
    /^nobody answers \(connect ECONNREFUSED 127\.0\.0\.1:1\): start/,
  ],
  ['null', 'unavailable', /^nobody answers: start/],
  ['Error: self-signed certificate in certificate chain', 'denied', /no authority that is trusted here/],
  ['Error: unable to get local issuer certificate', 'denied', /no authority that is trusted here/],
  [
    "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: Host: h. is not in the cert's altnames: DNS:a, DNS:b",
    'denied',
    /^the certificate of the server is for another name \(DNS:a, DNS:b\)$/,
  ],
  ['Error: certificate is not yet valid', 'denied', /not valid yet/],
  [
    openssl('tlsv13 alert certificate required'),
    'denied',
    /^the server wants a client certificate: give [^\n]*$/,
  ],
  [openssl('tlsv1 alert unknown ca'), 'denied', /does not trust our client certificate$/],
  [openssl('sslv3 alert certificate expired'), 'denied', /^our client certificate has expired$/],
  [
    'Failed to connect (2026-01-01T00:00:00.000Z)',
    'unavailable',
    /^the server hung up during the TLS handshake/,
  ],
])('%s', (reason, code, message) => {
  const explained = explainNoConnection(told(reason), 'grpc+https://h: service/Method')
  expect(explained).toMatchObject({ code, message: expect.stringMatching(message) })
})

test('other texts are none of its business', () => {
  expect(explainNoConnection('certificate has expired', 'grpc+https://h')).toBeUndefined()
})
