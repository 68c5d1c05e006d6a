/** `traceparent` of W3C Trace Context: what ties the log lines of several processes to one request. */
import { randomBytes } from 'node:crypto'

/** version, trace id, parent id, flags; later versions may have more behind another dash. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:$|-)/
const SPAN_BYTES = 8

/**
 * The context of our part of the request whose `traceparent` came in: the same trace, and an id of our own.
 * `undefined` without one, or when it is none; the standard has it ignored then.
 */
export function continueTrace(traceparent: string | undefined): string | undefined {
  const [, trace, flags] = TRACEPARENT.exec(traceparent ?? '') ?? []
  return trace && `00-${trace}-${randomBytes(SPAN_BYTES).toString('hex')}-${flags}`
}
