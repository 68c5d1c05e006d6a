import { printable, utf8 } from '../support/bytes.ts'
import { StoreError, systemCode } from '../support/errors.ts'

/** What makes the same request worth another try at once. */
const PASSING = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'],
])

/** A URL as messages may show it: without password and query, where secrets stand. */
export function shownUrl(url: URL): string {
  return printable(utf8(`${url.protocol}//${url.host}${url.pathname}`))
}

/** What Node threw for an exchange, as a StoreError that names the URL; a StoreError as it is. */
export function brokenConnection(url: URL, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const code = systemCode(error) ?? ''
  const reason = error instanceof Error ? error.message || code : String(error)
  if (code.startsWith('HPE_'))
    return new StoreError('corrupt', `${shownUrl(url)}: the answer is not HTTP: ${reason}`, { cause: error })
  return new StoreError('unavailable', `${shownUrl(url)}: ${reason || 'the connection broke'}`, {
    cause: error,
  })
}

/** Whether a failure may be over in a moment: of the connection, and not of a name or a certificate. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof StoreError) || error.code !== 'unavailable') return false
  const { cause } = error
  // Where a name has several addresses, each has failed in its own way.
  const causes = cause instanceof AggregateError ? cause.errors : [cause]
  return causes.some((each) => PASSING.has(systemCode(each) ?? ''))
}

/** An answer that its reader has no use for, as an error. The status is below 500. */
export function unexpectedStatus(url: URL, status: number): StoreError {
  const denied = status === 401 || status === 403 || status === 407
  return new StoreError(denied ? 'denied' : 'unavailable', `${shownUrl(url)}: HTTP status ${status}`)
}
