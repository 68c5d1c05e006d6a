/**
 * What a handler gets and gives, whatever the version of HTTP: it says what there is, and `reply-writer.ts` does what
 * every answer has in common (HEAD, conditions, ranges, content codings, lengths).
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Call } from '../../support/call.ts'
import type { Permission } from '../listen/permissions.ts'

export interface HttpRequest extends Call {
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
  readonly method: string
  /** As the client sent it: still percent-encoded, without the query. Begins with `/`. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** Whether it came by TLS, up to us. */
  readonly isSecure: boolean
  /** What this client may do here; what the method itself takes has been checked. */
  readonly permissions: ReadonlySet<Permission>
  /** To be read once, if at all. Ends with an error when the client breaks off. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface HttpReply {
  readonly status: number
  /** In lower case; beside those that follow from the content. */
  readonly headers?: Readonly<Record<string, string>>
  readonly content?: Content | undefined
}

/** Resolves with `undefined` when the path is none of its own. StoreErrors become replies by the error table. */
export type HttpHandler = (request: HttpRequest) => Promise<HttpReply | undefined>

/** The bytes of an answer, and what may be done with them. */
export interface Content {
  /** `content-type` */
  readonly type: string
  /** Bytes; `undefined` when that is not known before the end. */
  readonly size: number | undefined
  /** A strong validator of these bytes, without quotes. */
  readonly tag?: string
  /** `cache-control`; without it nobody keeps the answer. */
  readonly cacheControl?: string
  /** Whether `read` takes a range; needs `size`. */
  readonly hasRanges?: boolean
  /** Whether a content coding may pay. */
  readonly isCompressible?: boolean
  /**
   * The bytes, or those from `start` up to but without `end`. Errors before the first piece become replies; a later
   * one tears the connection down, so that nobody takes half of it for the whole.
   */
  read(range?: ByteRange): AsyncIterable<Uint8Array>
  /** Called, where it is there, with pieces that nobody reads any more: their memory may be used again. */
  giveBack?(piece: Uint8Array): void
}

export interface ByteRange {
  readonly start: number
  /** Not included. */
  readonly end: number
}

export interface DocumentTraits {
  readonly type: string
  readonly tag?: string
  readonly cacheControl?: string
}

/** Content that is held in memory. */
export function documentOf(bytes: Uint8Array, traits: DocumentTraits): Content {
  return {
    ...traits,
    size: bytes.length,
    isCompressible: true,
    async *read() {
      if (bytes.length > 0) yield bytes
    },
  }
}

export const TEXT = 'text/plain; charset=utf-8'

/** One line for a person. */
export function lineReply(
  status: number,
  line: string,
  headers?: Readonly<Record<string, string>>,
): HttpReply {
  const content = documentOf(Buffer.from(`${line}\n`), { type: TEXT })
  return { status, content, ...(headers && { headers }) }
}
