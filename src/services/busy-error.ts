import { StoreError } from '../support/errors.ts'

/** An answer that says: not now. */
export class BusyError extends StoreError {
  /** How long the server wants to be left alone, if it said. */
  readonly retryAfterMs: number | undefined
  /** It is asked too much, by us or others; nothing else is wrong. */
  readonly isOverloaded: boolean

  constructor(message: string, retryAfterMs: number | undefined, status: number) {
    const hint = retryAfterMs === undefined ? '' : `, try again in ${Math.ceil(retryAfterMs / 1000)} s`
    super('unavailable', message + hint)
    this.retryAfterMs = retryAfterMs
    this.isOverloaded = status === 429 || status === 503
  }
}

/** The header, in milliseconds: it has seconds or a date (RFC 9110 §10.2.3). */
export function parseRetryAfter(text: string | null | undefined): number | undefined {
  if (!text) return undefined
  const ms = /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
