import {
  HTTP_ANSWER_MS_MAX,
  HTTP_CONNECT_MS_MAX,
  HTTP_RETRY_AFTER_MS_MAX,
  HTTP_RETRY_MS,
  HTTP_SILENCE_BYTES,
  HTTP_SILENCE_MS_MAX,
} from '../support/limits.ts'

/** How patient an HTTP client is with the other side. */
export interface HttpPolicy {
  /** From the beginning of a request to a connection. */
  readonly connectMsMax: number
  /** From a connection to the head of the answer. */
  readonly answerMsMax: number
  /** So many bytes of a body … */
  readonly silenceBytes: number
  /** … must come within so long a time of waiting for them. */
  readonly silenceMsMax: number
  /** Pauses before a request that found nobody, or a busy server, is made again; jitter takes up to half of each. */
  readonly retryMs: readonly number[]
  /** A server that asks for a longer pause is told of as unavailable. */
  readonly retryAfterMsMax: number
}

export const DEFAULT_HTTP_POLICY: HttpPolicy = {
  connectMsMax: HTTP_CONNECT_MS_MAX,
  answerMsMax: HTTP_ANSWER_MS_MAX,
  silenceBytes: HTTP_SILENCE_BYTES,
  silenceMsMax: HTTP_SILENCE_MS_MAX,
  retryMs: HTTP_RETRY_MS,
  retryAfterMsMax: HTTP_RETRY_AFTER_MS_MAX,
}
