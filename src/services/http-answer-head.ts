import { StoreError } from '../support/errors.ts'

/** What is before the body of an answer to a GET. */
export interface AnswerHead {
  readonly status: number
  /** By their names in lower case; what comes twice is joined by commas. */
  readonly headers: ReadonlyMap<string, string>
  /** How the end of the body is known: by how many bytes there are, by chunks, or by the end of the connection. */
  readonly body: number | 'chunked' | 'until the end'
  /** The connection is not for another request. */
  readonly isLast: boolean
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: .*)?$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/

/**
 * By RFC 9112, without the empty line at its end. Strict where servers and who stands between might understand different
 * things (§6.3, §11.2): throws `corrupt`.
 */
export function parseAnswerHead(text: string): AnswerHead {
  const [first = '', ...lines] = text.split('\r\n')
  const [, minor, status] = STATUS_LINE.exec(first) ?? []
  if (minor === undefined) throw noHttp('it has no status line')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? []
    if (name === undefined || value === undefined) throw noHttp('a header has no name')
    const key = name.toLowerCase()
    const before = headers.get(key)
    headers.set(key, before === undefined ? value : `${before}, ${value}`)
  }
  const body = bodyOf(Number(status), headers)
  const closes = /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(headers.get('connection') ?? '')
  return {
    status: Number(status),
    headers,
    body,
    isLast: minor === '0' || closes || body === 'until the end',
  }
}

function bodyOf(status: number, headers: ReadonlyMap<string, string>): AnswerHead['body'] {
  const coding = headers.get('transfer-encoding')
  const length = headers.get('content-length')
  if (coding !== undefined) {
    if (length !== undefined) throw noHttp('it has a Transfer-Encoding and a Content-Length')
    if (coding.toLowerCase() !== 'chunked') throw noHttp(`its Transfer-Encoding is ${coding.slice(0, 50)}`)
    return 'chunked'
  }
  if (length !== undefined && !/^[0-9]{1,15}$/.test(length))
    throw noHttp(`its Content-Length is ${length.slice(0, 50)}`)
  // Whatever its headers say (RFC 9112 §6.3).
  if (status < 200 || status === 204 || status === 304) return 0
  return length === undefined ? 'until the end' : Number(length)
}

export function noHttp(why: string): StoreError {
  return new StoreError('corrupt', `the answer is not HTTP: ${why}`)
}
