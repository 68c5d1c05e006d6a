import type { StatusObject } from '@grpc/grpc-js'
import { printable, utf8, view } from '../support/bytes.ts'
import { ERROR_TABLE, type ErrorCode, StoreError, withoutTrace } from '../support/errors.ts'
import { GRPC_STATUS_CHARACTERS_MAX } from '../support/limits.ts'
import { percentDecoded } from '../support/percent.ts'
import { explainNoConnection } from './grpc-no-connection.ts'

const CANCELLED = ERROR_TABLE.cancelled.grpc

/** Codes that only other servers use, next to those of the error table. */
const FOREIGN_CODES: Readonly<Record<number, ErrorCode>> = {
  2: 'internal', // UNKNOWN: what snix answers when its backend fails
  6: 'precondition', // ALREADY_EXISTS
  10: 'unavailable', // ABORTED
  11: 'exhausted', // OUT_OF_RANGE: what tonic answers to a message above its limit
  16: 'denied', // UNAUTHENTICATED
}

const CODE_OF_STATUS = new Map<number, ErrorCode>(
  Object.entries(ERROR_TABLE).map(([code, row]) => [row.grpc, code as ErrorCode]),
)

/**
 * A status that a call ended with, told by the side that made the call. `what` names address and procedure. It has no trace: where
 * in grpc-js it was received says nothing, and absence is an everyday answer.
 */
export function errorOfStatus(end: Pick<StatusObject, 'code' | 'details'>, what: string): StoreError {
  return withoutTrace(() => toldOfStatus(end, what))
}

function toldOfStatus(end: Pick<StatusObject, 'code' | 'details'>, what: string): StoreError {
  const { code } = end
  // grpc-js passes on what its filters throw as it is: a message that cannot be decompressed has no `details`.
  const details = readable(
    String(end.details ?? (end as { message?: unknown }).message ?? 'no reason was given'),
  )
  const noConnection = explainNoConnection(details, what)
  if (noConnection) return new StoreError(noConnection.code, `${what}: ${noConnection.message}`)
  return new StoreError(errorCode(code, details), `${what}: ${details}`)
}

/**
 * For one line of a terminal. What grpc-js cannot decode it hands on as it came: servers of the Rust library leave percent signs as
 * they are, between others that mean something.
 */
function readable(details: string): string {
  return printable(percentDecoded(details) === undefined ? decodeSome(details) : utf8(details))
}

function decodeSome(text: string): Uint8Array {
  const bytes = view(utf8(text)).toString('latin1')
  const decoded = bytes.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(decoded, 'latin1')
}

function errorCode(code: number, details: string): ErrorCode {
  // Calls that we cancel never get here, so a cancelled one was cut by the peer, for instance when it shut down.
  if (code === CANCELLED) return 'unavailable'
  // grpc-js has no other word for a stream that broke off below the level of gRPC.
  if (details.startsWith('Received RST_STREAM')) return 'unavailable'
  return CODE_OF_STATUS.get(code) ?? FOREIGN_CODES[code] ?? 'internal'
}

/** The status that tells a client of an error. */
export function statusOfError(error: StoreError): { code: number; details: string } {
  return {
    code: ERROR_TABLE[error.code].grpc,
    // Half a surrogate pair has no UTF-8, and grpc-js would throw while it encodes the message.
    details: error.message.slice(0, GRPC_STATUS_CHARACTERS_MAX).toWellFormed(),
  }
}
