/** Answers to GETs, of any server: the same comes of one however it was cut, and what is no HTTP is refused. */
import { AnswerReader } from '../../../src/services/http-answer-reader.ts'
import { equalBytes, utf8 } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { HTTP_HEADER_BYTES_MAX } from '../../../src/support/limits.ts'
import { check, type Target } from '../target.ts'

const BODY_BYTES_MAX = 10_000

interface Outcome {
  /** `complete`, or why not. */
  readonly end: string
  readonly status?: number
  readonly framing?: number | string
  readonly isKept?: boolean
  readonly bytes: Uint8Array
}

function read(input: Uint8Array, pieceBytes: number): Outcome {
  const reader = new AnswerReader(Buffer.alloc(HTTP_HEADER_BYTES_MAX), BODY_BYTES_MAX, undefined)
  const nothing = new Uint8Array(0)
  try {
    for (let at = 0; at < input.length; ) {
      const { room } = reader
      check(room.length > 0, 'there is room for what comes next')
      const piece = input.subarray(at, at + Math.min(pieceBytes, room.length))
      room.set(piece)
      at += piece.length
      if (reader.received(piece.length)) return complete(reader, at === input.length)
    }
    return reader.ended() ? complete(reader, true) : { end: 'cut', bytes: nothing }
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'corrupt') throw error
    return { end: error.message.split(' ').slice(0, 7).join(' '), bytes: nothing }
  }
}

function complete(reader: AnswerReader, isAll: boolean): Outcome {
  const { head, bytes } = reader.answer
  check(bytes.length <= BODY_BYTES_MAX, 'a body has the size that it may have')
  check(typeof head.body !== 'number' || head.body === bytes.length, 'a body has the size that was announced')
  check(head.status >= 200 && head.status <= 999, 'an answer is a final one')
  return { end: 'complete', status: head.status, framing: head.body, isKept: reader.isKept && isAll, bytes }
}

function fuzzHttpAnswer(input: Uint8Array): string {
  const whole = read(input, Math.max(1, input.length))
  const pieceBytes = 1 + (((input[0] ?? 0) + input.length) % 7)
  const split = read(input, pieceBytes)
  const words = ({ end, status, framing, isKept }: Outcome) => `${end} ${status} ${framing} ${isKept}`
  check(words(whole) === words(split), `the same comes of it in pieces of ${pieceBytes}`)
  check(equalBytes(whole.bytes, split.bytes), `its body is equal in pieces of ${pieceBytes}`)
  const framing = typeof whole.framing === 'number' ? 'sized' : whole.framing
  return `${whole.end} ${Math.floor((whole.status ?? 0) / 100)} ${framing} ${whole.isKept} ${Math.ceil(Math.log2(whole.bytes.length + 1))}`
}

const SEEDS = [
  'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello',
  'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc',
  'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\nyou\r\n0\r\nx: y\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end',
  'HTTP/1.1 204 No Content\r\n\r\n',
]

const WORDS = [
  ...['HTTP/1.1 ', 'HTTP/1.0 ', '200', '304', '\r\n', '\r\n\r\n', '\n', '\r', ': ', 'Content-Length: '],
  ...[
    'Transfer-Encoding: ',
    'chunked',
    'gzip, chunked',
    'Connection: close',
    '0\r\n\r\n',
    'ffffffff\r\n',
    '-1',
  ],
]

export const httpAnswer: Target = {
  run: fuzzHttpAnswer,
  words: WORDS.map(utf8),
  seeds: () => SEEDS.map(utf8),
}
