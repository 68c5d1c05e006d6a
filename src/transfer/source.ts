import { constants } from 'node:fs'
import { printable } from '../support/bytes.ts'
import { type ErrorCode, StoreError, systemCode } from '../support/errors.ts'

/** Never follow a symlink, nor wait for a writer, where a file was a moment ago. */
export const OPEN_SOURCE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** A system error on the tree that is imported, as a StoreError that names the path. */
export function sourceError(doing: string, path: Uint8Array, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const reason = error instanceof Error ? error.message.replace(/,.*$/s, '') : String(error)
  return new StoreError(codeOf(error), `unable to ${doing} ${printable(path)}: ${reason}`, { cause: error })
}

export function changedFile(path: Uint8Array): StoreError {
  return new StoreError(
    'precondition',
    `${printable(path)} changed while it was read: import it again when nobody writes to it`,
  )
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EISDIR: 'invalid-argument',
  ENAMETOOLONG: 'invalid-argument',
  EACCES: 'denied',
  EPERM: 'denied',
}

function codeOf(error: unknown): ErrorCode {
  return CODES[systemCode(error) ?? ''] ?? 'unavailable'
}
