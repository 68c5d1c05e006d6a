import type { BufferRooms } from '../support/buffer-rooms.ts'
import { type AnswerBody, answerBody } from './http-answer-body.ts'
import { type AnswerHead, noHttp, parseAnswerHead } from './http-answer-head.ts'

const END_OF_HEAD = Buffer.from('\r\n\r\n')

/**
 * One answer to a GET, as its bytes come: it says where it wants to have the next ones, so that a body goes there straight from
 * the socket. Throws `corrupt` for what is no HTTP, and for a body of more than `bytesMax`.
 */
export class AnswerReader {
  /** For heads, and for what comes in chunks. */
  readonly #scratch: Buffer
  readonly #bytesMax: number
  readonly #rooms: BufferRooms | undefined
  #filled = 0
  #head: AnswerHead | undefined
  #body: AnswerBody | undefined
  #hasSurplus = false

  /** `scratch`: as much as a head may have; nobody else uses it meanwhile. `rooms`: where a body may lie. */
  constructor(scratch: Buffer, bytesMax: number, rooms: BufferRooms | undefined) {
    this.#scratch = scratch
    this.#bytesMax = bytesMax
    this.#rooms = rooms
  }

  /** Something came. */
  get hasBegun(): boolean {
    return this.#filled > 0 || this.#head !== undefined
  }

  /** Where the next bytes go: never empty while the answer is incomplete. */
  get room(): Uint8Array {
    return this.#body?.room ?? this.#scratch.subarray(this.#filled)
  }

  /** So many bytes were put there. True when the answer is complete. */
  received(count: number): boolean {
    const body = this.#body
    if (body?.room) body.advance(count)
    else {
      this.#filled += count
      if (body) this.#pass(body, 0)
      else this.#readHead()
    }
    return this.#body?.isComplete === true
  }

  /** The connection ended. True when that makes the answer complete. */
  ended(): boolean {
    return this.#body?.endsWithConnection === true
  }

  /** Of a complete answer: another request may be sent on its connection. */
  get isKept(): boolean {
    return this.#head?.isLast === false && !this.#hasSurplus
  }

  /** Of a complete answer. */
  get answer(): { readonly head: AnswerHead; readonly bytes: Uint8Array } {
    return { head: this.#head!, bytes: this.#body!.bytes }
  }

  /** Nobody will read or write it any more. */
  giveUp(): void {
    if (this.#body) this.#rooms?.giveBack(this.#body.bytes)
  }

  #readHead(): void {
    for (let start = 0; ; ) {
      const came = this.#scratch.subarray(start, this.#filled)
      const length = came.indexOf(END_OF_HEAD)
      if (length < 0) {
        this.#scratch.copyWithin(0, start, this.#filled)
        this.#filled -= start
        if (this.#filled === this.#scratch.length) throw noHttp('its headers are too long')
        return
      }
      const head = parseAnswerHead(came.toString('latin1', 0, length))
      start += length + END_OF_HEAD.length
      // What is said before the answer (RFC 9110 §15.2) is for others. We ask to speak nothing else.
      if (head.status < 200) continue
      this.#head = head
      this.#body = answerBody(head, this.#bytesMax, this.#rooms)
      this.#pass(this.#body, start)
      return
    }
  }

  /** Hands on what came from `start`. */
  #pass(body: AnswerBody, start: number): void {
    const came = this.#scratch.subarray(start, this.#filled)
    const taken = body.take(came)
    this.#hasSurplus = taken < came.length
    this.#filled = 0
  }
}
