import type { ErrorCode } from '../support/errors.ts'

/** Why there is no connection, for people. */
export interface NoConnection {
  readonly code: ErrorCode
  readonly message: string
}

const NO_CONNECTION =
  /^No connection established\. Last error: (?:Error(?: \[[A-Z_]+\])?: )?([\s\S]*?)\. Resolution note:/

/** What OpenSSL and Node say of TLS that does not come about, as far as people can do something about it. */
const TLS_FAULTS: readonly [pattern: RegExp, message: string][] = [
  [
    /unable to (?:verify the first|get (?:local )?issuer) certificate|self-signed certificate/,
    'the certificate of the server is of no authority that is trusted here: name it with tls-ca-cert-path',
  ],
  [/certificate has expired/, 'the certificate of the server has expired'],
  [/certificate is not yet valid/, 'the certificate of the server is not valid yet; is the clock right?'],
  [/does not match certificate's altnames/, 'the certificate of the server is for another name'],
  [
    /alert certificate required|alert handshake failure/,
    'the server wants a client certificate: give tls-client-cert-path and tls-client-key-path',
  ],
  [/alert unknown ca|alert bad certificate/, 'the server does not trust our client certificate'],
  [/alert certificate expired/, 'our client certificate has expired'],
  [/wrong version number|packet length too long/, 'the server speaks no TLS: use grpc+http'],
]

/**
 * grpc-js tells of a connection that does not come about in three half-sentences, with the file names of OpenSSL
 * in them; people want the reason and what to do. `undefined` if the text is about something else. `what` begins
 * with the address.
 *
 * What is wrong with certificates is `denied`: it will not get better by trying again.
 */
export function explainNoConnection(details: string, what: string): NoConnection | undefined {
  const reason = NO_CONNECTION.exec(details)?.[1]?.trim()
  if (reason === undefined) return undefined
  const fault = TLS_FAULTS.find(([pattern]) => pattern.test(reason))
  if (fault) return { code: 'denied', message: `${fault[1]}${altNames(reason)}` }
  if (reason.startsWith('Failed to connect')) return { code: 'unavailable', message: hungUp(what) }
  // Between two attempts there is no reason to be told.
  const why = reason === 'null' ? '' : ` (${reason})`
  const message = `nobody answers${why}: start a daemon there with \`tvix-store daemon\`, or name another address`
  return { code: 'unavailable', message }
}

/** Which names the certificate has, if that was the fault. */
function altNames(reason: string): string {
  const names = /is not in the cert's altnames: (.+)$/.exec(reason)?.[1]
  return names === undefined ? '' : ` (${names})`
}

function hungUp(what: string): string {
  return what.startsWith('grpc+https:')
    ? 'the server hung up during the TLS handshake: it may not accept our client certificate'
    : 'the server hung up at once: it may want TLS, which is grpc+https'
}
