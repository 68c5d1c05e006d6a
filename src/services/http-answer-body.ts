import { type BufferRooms, countedBuffer } from '../support/buffer-rooms.ts'
import { StoreError } from '../support/errors.ts'
import { HTTP_BODY_AT_ONCE_BYTES_MAX, HTTP_CHUNK_LINE_BYTES_MAX } from '../support/limits.ts'
import { type AnswerHead, noHttp } from './http-answer-head.ts'

/** The body of an answer, put together in one block of memory. */
export interface AnswerBody {
  /** Where it wants to have what comes next, if it has a place for it. */
  readonly room: Uint8Array | undefined
  /** So many bytes were put there. */
  advance(count: number): void
  /** Takes what belongs to it from the beginning of what came; how many bytes that was. */
  take(bytes: Uint8Array): number
  readonly isComplete: boolean
  /** Only the end of the connection can tell that it is complete. */
  readonly endsWithConnection: boolean
  /** All of it, once it is complete. */
  readonly bytes: Uint8Array
}

/** Throws `corrupt` when it is announced, or becomes, larger than `bytesMax`. `rooms`: where it may lie. */
export function answerBody(head: AnswerHead, bytesMax: number, rooms: BufferRooms | undefined): AnswerBody {
  if (head.body === 'chunked') return new ChunkedBody(bytesMax)
  if (head.body === 'until the end') return new EndlessBody(bytesMax)
  if (head.body > bytesMax) throw tooLong(bytesMax)
  return new SizedBody(head.body, rooms)
}

function tooLong(bytesMax: number): StoreError {
  return new StoreError('corrupt', `the answer is longer than ${bytesMax} bytes`)
}

/** A block that grows: who announces a gigabyte has to send it before we have it. */
class GrowingBlock {
  #buffer: Buffer
  #length = 0
  readonly #bytesMax: number

  constructor(buffer: Buffer, bytesMax: number) {
    this.#buffer = buffer
    this.#bytesMax = bytesMax
  }

  get length(): number {
    return this.#length
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length)
  }

  /** Up to `bytesMax` in all. */
  get free(): Uint8Array {
    if (this.#length === this.#buffer.length && this.#length < this.#bytesMax) {
      const larger = countedBuffer(Math.min(2 * this.#length, this.#bytesMax))
      larger.set(this.#buffer)
      this.#buffer = larger
    }
    return this.#buffer.subarray(this.#length, this.#bytesMax)
  }

  advance(count: number): void {
    this.#length += count
  }

  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + this.free.length)
      if (part.length === 0) throw tooLong(this.#bytesMax)
      this.free.set(part)
      this.advance(part.length)
      at += part.length
    }
  }
}

class SizedBody implements AnswerBody {
  readonly #block: GrowingBlock
  readonly #size: number
  readonly endsWithConnection = false

  constructor(size: number, rooms: BufferRooms | undefined) {
    this.#size = size
    const first = Math.min(size, HTTP_BODY_AT_ONCE_BYTES_MAX)
    this.#block = new GrowingBlock(rooms?.take(first) ?? countedBuffer(first), size)
  }

  get room(): Uint8Array {
    return this.#block.free
  }

  advance(count: number): void {
    this.#block.advance(count)
  }

  take(bytes: Uint8Array): number {
    const own = bytes.subarray(0, this.#size - this.#block.length)
    this.#block.append(own)
    return own.length
  }

  get isComplete(): boolean {
    return this.#block.length === this.#size
  }

  get bytes(): Uint8Array {
    return this.#block.bytes
  }
}

/** Of a size that nobody told. */
abstract class UnsizedBody implements AnswerBody {
  protected readonly block: GrowingBlock
  readonly room = undefined
  isComplete = false
  abstract readonly endsWithConnection: boolean

  constructor(bytesMax: number) {
    this.block = new GrowingBlock(countedBuffer(Math.min(bytesMax, FIRST_BYTES)), bytesMax)
  }

  abstract take(bytes: Uint8Array): number

  advance(): void {}

  get bytes(): Uint8Array {
    return this.block.bytes
  }
}

/** Such bodies are messages of some lines, as a rule. */
const FIRST_BYTES = 4_096

class EndlessBody extends UnsizedBody {
  readonly endsWithConnection = true

  take(bytes: Uint8Array): number {
    this.block.append(bytes)
    return bytes.length
  }
}

/** RFC 9112 §7.1. What its trailer says is dropped. */
class ChunkedBody extends UnsizedBody {
  readonly endsWithConnection = false
  #expects: 'size' | 'contents' | 'end of contents' | 'trailer' = 'size'
  /** Of the contents of a chunk. */
  #left = 0
  /** As far as it came; of a trailer, all lines so far. */
  #line = ''

  take(bytes: Uint8Array): number {
    let at = 0
    while (at < bytes.length && !this.isComplete)
      at += this.#expects === 'contents' ? this.#takeContents(bytes.subarray(at)) : this.#takeLine(bytes, at)
    return at
  }

  #takeContents(bytes: Uint8Array): number {
    const contents = bytes.subarray(0, this.#left)
    this.block.append(contents)
    this.#left -= contents.length
    if (this.#left === 0) this.#expects = 'end of contents'
    return contents.length
  }

  #takeLine(bytes: Uint8Array, start: number): number {
    const found = bytes.indexOf(LINE_FEED, start)
    const end = found < 0 ? bytes.length : found + 1
    this.#line += Buffer.from(bytes.subarray(start, end)).toString('latin1')
    if (this.#line.length > HTTP_CHUNK_LINE_BYTES_MAX) throw noHttp('a line between chunks is too long')
    if (found >= 0) {
      if (!this.#line.endsWith('\r\n')) throw noHttp('a line between chunks has no end')
      this.#heed(this.#line.slice(0, -2))
    }
    return end - start
  }

  #heed(line: string): void {
    if (this.#expects === 'trailer') {
      this.isComplete = line === '' || line.endsWith('\r\n')
      if (!this.isComplete) this.#line = `${line}\r\n`
      return
    }
    this.#line = ''
    if (this.#expects === 'size') {
      const [, digits] = /^([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?$/.exec(line) ?? []
      if (digits === undefined) throw noHttp('a chunk has no size')
      this.#left = Number.parseInt(digits, 16)
      this.#expects = this.#left === 0 ? 'trailer' : 'contents'
    } else if (line === '') this.#expects = 'size'
    else throw noHttp('a chunk is longer than it says')
  }
}

const LINE_FEED = 0x0a
