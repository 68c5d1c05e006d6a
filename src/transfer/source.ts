import { constants } from 'node:fs'
import { printable } from '../support/bytes.ts'
import { type ErrorCode, StoreError, systemCode } from '../support/errors.ts'
import { DIRECTORY_NAMES_BYTES_MAX, TREE_DEPTH_MAX } from '../support/limits.ts'
import { FAILED, type SourceRecords } from '../support/source-records.ts'
import { systemError } from '../support/system-error.ts'

/** Never follow a symlink, nor wait for a writer, where a file was a moment ago. */
export const OPEN_SOURCE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** A system error on the tree that is imported, as a StoreError that names the path. */
export function sourceError(doing: string, path: Uint8Array, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const reason = error instanceof Error ? error.message.replace(/,.*$/s, '') : String(error)
  return new StoreError(codeOf(error), `unable to ${doing} ${printable(path)}: ${reason}`, { cause: error })
}

/** What ended a walk. */
export function walkError(records: SourceRecords, i: number): StoreError {
  const path = records.name(i)
  const { what, errno } = records.failure(i)
  if (what === FAILED.changed) return changedFile(path)
  if (what === FAILED.depth)
    return new StoreError(
      'exhausted',
      `${printable(path)} is nested deeper than ${TREE_DEPTH_MAX} directories`,
    )
  if (what === FAILED.names)
    return new StoreError(
      'exhausted',
      `${printable(path)} has more than ${DIRECTORY_NAMES_BYTES_MAX} bytes of names, which no directory of a store can have`,
    )
  return sourceError(DOING[what] ?? 'walk', path, systemError(-errno))
}

const DOING: Readonly<Record<number, string>> = {
  [FAILED.stat]: 'stat',
  [FAILED.list]: 'list',
  [FAILED.readlink]: 'read symlink',
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
