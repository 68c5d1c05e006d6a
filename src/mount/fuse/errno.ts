import { ERROR_TABLE, StoreError } from '../../support/errors.ts'
import { TreeFault } from '../tree/interface.ts'
import { Errno } from './protocol.ts'

/** What the protocol itself refuses (a name too long, a reply too large for the caller's buffer). */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly errno: number

  constructor(code: keyof typeof Errno) {
    super(code)
    this.errno = Errno[code]
  }
}

/** The errno a system call returns for anything that was thrown; what nobody foresaw is EIO. */
export function errnoOf(error: unknown): number {
  if (error instanceof TreeFault) return Errno[error.code]
  if (error instanceof Refusal) return error.errno
  if (error instanceof StoreError) return ERROR_TABLE[error.code].errno
  return Errno.EIO
}
