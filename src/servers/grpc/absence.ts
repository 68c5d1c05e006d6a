import { StoreError } from '../../support/errors.ts'

/** What a client asked for is nowhere, and every source said so: only this is NOT_FOUND. */
export class AbsenceError extends StoreError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('not-found', message, options)
  }
}

/**
 * A failure as a client may be told of it. The `not-found` of a service is about something else that it needs, a bucket, a
 * file of a key: told as NOT_FOUND, clients would take it for absence, remember that, and store a second time.
 */
export function withoutFalseAbsence(error: StoreError): StoreError {
  if (error.code !== 'not-found' || error instanceof AbsenceError) return error
  return new StoreError('precondition', error.message, { cause: error })
}
