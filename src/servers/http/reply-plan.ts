import { HTTP_COMPRESSION_BYTES_MIN } from '../../support/limits.ts'
import { parseRange } from './byte-range.ts'
import { isKnown, mayServeRange, quoted } from './conditions.ts'
import { type ContentCoding, negotiateCoding } from './content-coding.ts'
import { type ByteRange, type Content, type HttpReply, type HttpRequest, lineReply } from './exchange.ts'

/** An answer as it goes out. */
export interface ReplyPlan {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number>>
  /** What to send; nothing for HEAD, 304 and their kin. */
  readonly body?: {
    readonly content: Content
    readonly range?: ByteRange | undefined
    readonly coding?: ContentCoding | undefined
  }
}

type Question = Pick<HttpRequest, 'method' | 'headers'>

/** What of the content this client gets, and the headers that follow from that (RFC 9110). */
export function planReply(request: Question, { status, headers, content }: HttpReply): ReplyPlan {
  if (!content) return { status, headers: { ...headers, 'cache-control': 'no-store', 'content-length': 0 } }
  const { method } = request
  const coding = codingFor(request, content, status)
  const tag = content.tag !== undefined && coding ? `${content.tag}-${coding}` : content.tag
  const common = { ...headers, ...describe(content, tag, headers?.['vary']) }
  const isRead = status === 200 && (method === 'GET' || method === 'HEAD')
  if (isRead && isKnown(request.headers['if-none-match'], tag)) return { status: 304, headers: common }
  const range = isRead && method === 'GET' ? rangeFor(request, content) : undefined
  if (range === 'unsatisfiable') return unsatisfiable(content)
  const full = { ...common, 'content-type': content.type }
  if (range) return partial(content, range, { ...full, ...(content.tag && { etag: quoted(content.tag) }) })
  if (coding) return { status, headers: { ...full, 'content-encoding': coding }, body: { content, coding } }
  const measured = {
    ...full,
    ...(content.hasRanges && { 'accept-ranges': 'bytes' }),
    ...(content.size !== undefined && { 'content-length': content.size }),
  }
  return { status, headers: measured, ...(method !== 'HEAD' && { body: { content } }) }
}

/** What also belongs to a 304. */
function describe(
  content: Content,
  tag: string | undefined,
  vary: string | undefined,
): Record<string, string> {
  const varies = [vary, mayCompress(content) ? 'accept-encoding' : undefined].filter(Boolean).join(', ')
  return {
    'cache-control': content.cacheControl ?? 'no-store',
    ...(tag !== undefined && { etag: quoted(tag) }),
    ...(varies !== '' && { vary: varies }),
  }
}

function mayCompress({ isCompressible, size }: Content): boolean {
  return isCompressible === true && (size === undefined || size >= HTTP_COMPRESSION_BYTES_MIN)
}

/**
 * HEAD tells of the bytes as they are, with their length, which is what its askers want to know; and ranges are
 * ranges of these bytes.
 */
function codingFor(
  { method, headers }: Question,
  content: Content,
  status: number,
): ContentCoding | undefined {
  if (method === 'HEAD' || status !== 200 || !mayCompress(content)) return undefined
  if (content.hasRanges && headers.range !== undefined) return undefined
  return negotiateCoding(headers['accept-encoding']?.toString())
}

function rangeFor({ headers }: Question, content: Content): ReturnType<typeof parseRange> {
  if (!content.hasRanges || content.size === undefined || headers.range === undefined) return undefined
  if (!mayServeRange(headers['if-range']?.toString(), content.tag)) return undefined
  return parseRange(headers.range, content.size)
}

function partial(content: Content, range: ByteRange, headers: Readonly<Record<string, string>>): ReplyPlan {
  const { start, end } = range
  return {
    status: 206,
    headers: {
      ...headers,
      'accept-ranges': 'bytes',
      'content-range': `bytes ${start}-${end - 1}/${content.size}`,
      'content-length': end - start,
    },
    body: { content, range },
  }
}

function unsatisfiable({ size }: Content): ReplyPlan {
  const { content, status } = lineReply(416, `no such range: there are ${size} bytes`)
  return planReply(
    { method: 'GET', headers: {} },
    { status, ...(content && { content }), headers: { 'content-range': `bytes */${size}` } },
  )
}
