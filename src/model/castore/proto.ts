/**
 * The part of the protobuf wire format that our messages need (protobuf.dev, "Encoding"): varints and
 * length-delimited fields. The writer omits default values, as proto3 asks.
 */
import { isUtf8 } from 'node:buffer'
import { view } from '../../support/bytes.ts'
import { ValidationError } from './validation-error.ts'

const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const GROUP_START = 3
const GROUP_END = 4
const FIXED32 = 5

/** Tags are 32 bits wide, lengths no wider than what a message can hold. */
const U32_MAX = 0xffff_ffff
const VARINT_BYTES_MAX = 10

export class ProtoWriter {
  #buffer = Buffer.allocUnsafe(256)
  #length = 0

  bytes(field: number, value: Uint8Array): void {
    if (value.length > 0) this.element(field, value)
  }

  /** A sub-message; written even when it is empty, since presence carries meaning. */
  message(field: number, write: (writer: ProtoWriter) => void): void {
    const inner = new ProtoWriter()
    write(inner)
    this.element(field, inner.finish())
  }

  /** One of a repeated field, or of a oneof; written even when it is empty. */
  element(field: number, value: Uint8Array): void {
    this.#varint((field << 3) | LENGTH_DELIMITED)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#buffer.set(value, this.#length)
    this.#length += value.length
  }

  uint64(field: number, value: bigint): void {
    if (value === 0n) return
    this.#varint((field << 3) | VARINT)
    this.#varint64(value)
  }

  bool(field: number, value: boolean): void {
    if (value) this.uint64(field, 1n)
  }

  finish(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#buffer, 0, this.#length)
  }

  #varint(value: number): void {
    this.#reserve(5)
    let rest = value
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#buffer[this.#length++] = rest
  }

  #varint64(value: bigint): void {
    this.#reserve(10)
    let rest = value
    while (rest > 0x7fn) {
      this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    this.#buffer[this.#length++] = Number(rest)
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + more))
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}

/** Walks the fields of one message: `next()`, look at `field`, then take the value or `skip()` it. */
export class ProtoReader {
  readonly #bytes: Uint8Array
  #offset = 0
  #wireType = 0
  field = 0
  /**
   * Whether what was read so far is what `ProtoWriter` would write: fields in ascending order, no default values,
   * nothing skipped, numbers as short as they can be. That a field occurs once is for the caller to see.
   */
  isCanonical = true

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.#offset === this.#bytes.length) return false
    const { field } = this
    this.#tag()
    if (this.field < field) this.isCanonical = false
    return true
  }

  /** A view into the message, not a copy. */
  bytes(): Uint8Array {
    this.#expect(LENGTH_DELIMITED)
    const length = this.#varint32()
    if (length === 0) this.isCanonical = false
    return this.#take(length)
  }

  /** Which has to be UTF-8 (protobuf.dev, "Proto Limits" of proto3). */
  string(): string {
    const bytes = this.bytes()
    if (!isUtf8(bytes)) throw malformed(`field ${this.field} is not UTF-8`)
    return view(bytes).toString('utf8')
  }

  bool(): boolean {
    return this.uint64() !== 0n
  }

  /** Also of an enum: what is above 32 bits is cut off, as protobuf has it. */
  int32(): number {
    return Number(BigInt.asIntN(32, this.uint64()))
  }

  uint64(): bigint {
    this.#expect(VARINT)
    let low = 0
    let shift = 0
    // Sizes below 2^49 take no bigint arithmetic: seven bytes of seven bits.
    for (let i = 0; i < 7; i++) {
      const byte = this.#byte()
      low += (byte & 0x7f) * 2 ** shift
      // The last seven bits of a number are never all zero, and zero is the default.
      if (byte === 0) this.isCanonical = false
      if (byte < 0x80) return BigInt(low)
      shift += 7
    }
    let value = BigInt(low)
    for (let i = 7; i < VARINT_BYTES_MAX; i++) {
      const byte = this.#byte()
      value |= BigInt(byte & 0x7f) << BigInt(7 * i)
      if (byte === 0) this.isCanonical = false
      if (i === VARINT_BYTES_MAX - 1 && byte > 1) throw malformed('a number of more than 64 bits')
      if (byte < 0x80) return value
    }
    throw malformed(`a number of more than ${VARINT_BYTES_MAX} bytes`)
  }

  skip(): void {
    this.isCanonical = false
    if (this.#wireType === VARINT) this.uint64()
    else if (this.#wireType === LENGTH_DELIMITED) this.bytes()
    else if (this.#wireType === FIXED64) this.#take(8)
    else if (this.#wireType === FIXED32) this.#take(4)
    else if (this.#wireType === GROUP_START) this.#skipGroup()
    else throw malformed(`wire type ${this.#wireType}`)
  }

  /** An old form of sub-message that only unknown fields have; a list of what is open instead of recursion. */
  #skipGroup(): void {
    const open = [this.field]
    while (open.length > 0) {
      this.#tag()
      if (this.#wireType === GROUP_START) open.push(this.field)
      else if (this.#wireType !== GROUP_END) this.skip()
      else if (open.pop() !== this.field) throw malformed(`a group ends with field ${this.field}`)
    }
  }

  #tag(): void {
    const tag = this.#varint32()
    this.field = tag >>> 3
    this.#wireType = tag & 7
    if (this.field === 0) throw malformed('field number 0')
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType) throw malformed(`field ${this.field} with wire type ${this.#wireType}`)
  }

  #take(length: number): Uint8Array {
    const end = this.#offset + length
    if (end > this.#bytes.length) throw malformed(`field ${this.field} runs past the end of the message`)
    const taken = this.#bytes.subarray(this.#offset, end)
    this.#offset = end
    return taken
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset++]
    if (byte === undefined) throw malformed('message ends inside a number')
    return byte
  }

  /** A tag or a length, nearly always of one byte. */
  #varint32(): number {
    const first = this.#byte()
    return first < 0x80 ? first : this.#longVarint32(first & 0x7f)
  }

  /** More than 32 bits would be cut off, and the message taken for one that it is not. */
  #longVarint32(first: number): number {
    let value = first
    for (let i = 1; i < VARINT_BYTES_MAX; i++) {
      const byte = this.#byte()
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte === 0) this.isCanonical = false
      if (value > U32_MAX) throw malformed('a tag or length of more than 32 bits')
      if (byte < 0x80) return value
    }
    throw malformed(`a number of more than ${VARINT_BYTES_MAX} bytes`)
  }
}

function malformed(what: string): ValidationError {
  return new ValidationError('Malformed', `not a valid protobuf message: ${what}`)
}
