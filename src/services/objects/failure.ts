import { printable, utf8 } from '../../support/bytes.ts'
import { type ErrorCode, StoreError, systemCode } from '../../support/errors.ts'
import { BusyError, parseRetryAfter } from '../busy-error.ts'
import { BusyStatusError } from '../http-client.ts'

/** What is known of an answer that says no. */
export interface Refusal {
  readonly status: number
  /** The status that others send for the same reason. */
  readonly means?: number | undefined
  /** The server's own name for the reason: `SlowDown`, `ContainerNotFound`. */
  readonly reason?: string | undefined
  readonly message?: string | undefined
  /** By which the operator of the server finds the request. */
  readonly requestId?: string | undefined
  /** The header, as it came. */
  readonly retryAfter?: string | null | undefined
}

const BY_STATUS: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  401: ['denied', 'the server does not accept our credentials'],
  403: [
    'denied',
    'the credentials do not allow it, or the bucket hides what is absent (on S3, allow s3:ListBucket)',
  ],
  // Not `not-found`: a server would tell its clients that an object is absent.
  404: ['precondition', 'it does not exist'],
  405: ['unimplemented', 'the server does not offer this'],
  408: ['unavailable', 'the server waited too long for us'],
  409: ['unavailable', 'another request is changing the same object'],
  413: ['exhausted', 'the server takes no object of this size'],
  429: ['unavailable', 'the server is asked too often'],
  501: ['unimplemented', 'the server does not offer this'],
  507: ['exhausted', 'the server has no space left'],
}

/** An answer that says no, as an error that says why and shows no credentials. */
export function refusalError(refusal: Refusal): StoreError {
  const { status, means = status, reason, requestId } = refusal
  const [code, meaning] =
    BY_STATUS[means] ??
    (means >= 500 ? ['unavailable', 'the server failed'] : ['precondition', 'the server refuses it'])
  const said = [reason, firstLine(refusal.message)].filter((part) => part && !/^Unknown(Error)?$/.test(part))
  const who = requestId ? `, request ${requestId}` : ''
  const message = `${meaning} (${shown([`HTTP status ${status}`, ...said].join(', '))}${shown(who)})`
  if (code === 'unavailable') return new BusyError(message, parseRetryAfter(refusal.retryAfter), means)
  return new StoreError(code, message)
}

/**
 * That no credentials are to be had. Those that `hadSome` cannot renew them, which may be over soon: a metadata server
 * that is restarted is no reason to tell everybody that they are not allowed. `hint`: what to do.
 */
export function credentialsError(error: unknown, hadSome: boolean, hint: string): StoreError {
  const reason = shown(firstLine(error instanceof Error ? error.message : String(error)))
  if (hadSome) return new StoreError('unavailable', `the credentials could not be renewed (${reason})`)
  return new StoreError('denied', `no credentials (${reason}): ${hint}`)
}

/** A failure without an answer: a name, a connection, a certificate, or something that nobody foresaw. */
export function connectionError(error: unknown): StoreError {
  if (error instanceof BusyStatusError && !error.isWorthATry)
    return new StoreError('unimplemented', `the server does not offer this: ${error.message}`)
  if (error instanceof StoreError) return error
  const known = StoreError.from(error)
  // We aborted nothing (see Requests): it is what some SDKs say of a connection that broke.
  if (known.code === 'cancelled') return new StoreError('unavailable', 'the connection broke')
  if (known.code !== 'internal') return known
  const cause = (error as { cause?: unknown }).cause
  const code = systemCode(error) ?? systemCode(cause)
  const text = shown(firstLine(known.message) || code || 'the connection broke')
  // Errors of Node and of the SDKs about connections have a code; a mistake of ours has none.
  return new StoreError(code === undefined && !isConnectionName(error) ? 'internal' : 'unavailable', text)
}

function isConnectionName(error: unknown): boolean {
  return (
    error instanceof Error && ['TimeoutError', 'RestError', 'FetchError', 'RequestError'].includes(error.name)
  )
}

/** What a server or an SDK says, on one line and without what may be a secret in it. */
function shown(text: string): string {
  const secrets = /((?:sig|signature|token|key|credential|password|secret)[a-z_-]*=)[^&\s]+/gi
  return printable(utf8(text.replace(secrets, '$1…')))
}

function firstLine(text: string | undefined): string {
  return (text ?? '').trim().split('\n', 1)[0]!.slice(0, 500)
}
