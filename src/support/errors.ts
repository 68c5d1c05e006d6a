/**
 * The one currency of failure. Every error that leaves a module is a `StoreError`; its `code` decides, by
 * the table below, what a gRPC client, a process on the mount, an HTTP client and a shell get to see.
 *
 * Absence is not an error: functions that look something up answer `undefined`, and only when every source
 * answered. `not-found` exists for what a person named and does not exist (a path to import, a mount point).
 */
export type ErrorCode =
  | 'invalid-argument'
  | 'not-found'
  | 'unavailable'
  | 'corrupt'
  | 'exhausted'
  | 'deadline'
  | 'cancelled'
  | 'denied'
  | 'precondition'
  | 'unimplemented'
  | 'internal'

export interface ErrorRow {
  /** gRPC status code (grpc/grpc doc/statuscodes.md). */
  readonly grpc: number
  /** Linux errno a system call on the mount returns (asm-generic/errno-base.h). */
  readonly errno: number
  /** HTTP status of the binary cache. */
  readonly http: number
  /** Exit code of the command line (sysexits.h). */
  readonly exit: number
  /** Whether the same call may succeed when it is made again. */
  readonly retryable: boolean
}

const EPERM = 1
const EINTR = 4
const EIO = 5
const EINVAL = 22
const ETIMEDOUT = 110

export const ERROR_TABLE: Readonly<Record<ErrorCode, ErrorRow>> = {
  'invalid-argument': { grpc: 3, errno: EINVAL, http: 400, exit: 64, retryable: false },
  'not-found': { grpc: 5, errno: EIO, http: 404, exit: 66, retryable: false },
  unavailable: { grpc: 14, errno: EIO, http: 503, exit: 69, retryable: true },
  corrupt: { grpc: 15, errno: EIO, http: 502, exit: 65, retryable: false },
  exhausted: { grpc: 8, errno: EIO, http: 413, exit: 75, retryable: false },
  deadline: { grpc: 4, errno: ETIMEDOUT, http: 504, exit: 75, retryable: true },
  cancelled: { grpc: 1, errno: EINTR, http: 499, exit: 130, retryable: false },
  denied: { grpc: 7, errno: EPERM, http: 403, exit: 77, retryable: false },
  precondition: { grpc: 9, errno: EIO, http: 409, exit: 73, retryable: false },
  unimplemented: { grpc: 12, errno: EIO, http: 501, exit: 69, retryable: false },
  internal: { grpc: 13, errno: EIO, http: 500, exit: 70, retryable: false },
}

export class StoreError extends Error {
  override readonly name: string = 'StoreError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }

  /**
   * Any thrown value as a StoreError. An abort becomes `cancelled` (or `deadline` for a timeout); what nobody
   * foresaw becomes `internal`, with the original as cause.
   */
  static from(error: unknown): StoreError {
    if (error instanceof StoreError) return error
    if (error instanceof Error) {
      if (error.name === 'AbortError') return new StoreError('cancelled', 'cancelled', { cause: error })
      if (error.name === 'TimeoutError')
        return new StoreError('deadline', 'deadline exceeded', { cause: error })
      return new StoreError('internal', error.message, { cause: error })
    }
    return new StoreError('internal', String(error), { cause: error })
  }
}

/**
 * Something that another object refers to is in no source. `corrupt` for whoever reads, as bytes that are wrong; those who
 * named the object that refers to it may want to be told apart (spec §11.3).
 */
export class MissingError extends StoreError {
  override readonly name = 'MissingError'

  constructor(what: string) {
    super('corrupt', `${what} is missing from the store`)
  }
}

/** The same failure, told by the caller: the code stays, the message gains what was being done, unless it says so already. */
export function withContext(context: string, error: unknown): StoreError {
  const { code, message } = StoreError.from(error)
  const told = message.startsWith(`${context}: `) ? message : `${context}: ${message}`
  return new StoreError(code, told, { cause: error })
}

/**
 * An error of which the trace would tell nobody anything: what is made for many calls a second, as an answer and not as a fault.
 * To trace one costs as much as a tenth of a unary call.
 */
export function withoutTrace<E extends Error>(make: () => E): E {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

export function isRetryable(error: unknown): boolean {
  return ERROR_TABLE[StoreError.from(error).code].retryable
}

/** The `code` of a Node system error (`ENOENT`, …), if it is one. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}
