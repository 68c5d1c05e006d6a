import { ValidationError } from '../../model/castore/validation-error.ts'
import { ERROR_TABLE, type ErrorCode, type StoreError } from '../../support/errors.ts'
import { type HttpReply, lineReply } from './exchange.ts'

/** A request that is refused, and why in one line for whoever made it. */
export class Refusal extends Error {
  readonly reply: HttpReply

  constructor(status: number, line: string, headers?: Readonly<Record<string, string>>) {
    super(line)
    this.reply = lineReply(status, line, headers)
  }
}

/** Seconds after which a client that was sent away may come again. */
const RETRY_SECONDS = '5'

/**
 * What a client is told of a failure that is not its own. The message of the error stays in the log: it names
 * addresses and paths of this machine.
 */
const LINES: Readonly<Record<ErrorCode, string>> = {
  'invalid-argument': 'the store refused the request',
  'not-found': 'it is not in the store',
  unavailable: 'the store behind this server cannot be reached; try again later',
  corrupt: 'what the store holds of it is damaged or incomplete',
  exhausted: 'it is above a limit of this server or of its store',
  deadline: 'the store behind this server did not answer in time; try again later',
  cancelled: 'the request was given up',
  denied: 'the store behind this server does not permit it',
  precondition: 'the store behind this server is not in a state to do it',
  unimplemented: 'the store behind this server cannot do it',
  internal: 'a fault of this server, which is in its log',
}

export function faultReply(error: StoreError): HttpReply {
  const { http, retryable } = ERROR_TABLE[error.code]
  // Messages of validation speak of what came in, and of nothing else.
  const line = error instanceof ValidationError ? error.message : LINES[error.code]
  return lineReply(http, line.replaceAll('\n', ' '), retryable ? { 'retry-after': RETRY_SECONDS } : undefined)
}
