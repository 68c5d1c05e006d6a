import { FUSE_REQUEST_BYTES_MAX } from '../../support/limits.ts'
import { TreeFault } from '../tree/interface.ts'
import { dataView, getU64, HIGH, LITTLE_ENDIAN, LOW } from './bytes.ts'
import type { ReadRequest } from './chunk-reader.ts'
import { IN_HEADER, READ_IN } from './protocol.ts'

/**
 * The request that lies in the one receive buffer, read in place: valid until the next one is received.
 * Offsets are counted from the end of the header. Fields of a fixed structure may only be read when
 * `bodyLength` covers it; what comes from a broken peer is a TreeFault, never an access out of bounds.
 */
export class Request {
  readonly buffer = new Uint8Array(FUSE_REQUEST_BYTES_MAX)
  readonly #view = dataView(this.buffer)
  #length = 0

  /** Takes the next request, of `length` bytes. False when this is no request: there is nobody to answer. */
  accept(length: number): boolean {
    this.#length = length
    return length >= IN_HEADER.bytes && this.#view.getUint32(IN_HEADER.length, LITTLE_ENDIAN) === length
  }

  get opcode(): number {
    return this.#view.getUint32(IN_HEADER.opcode, LITTLE_ENDIAN)
  }

  /** The kernel's name for this request, opaque: two halves, so that no bigint is made. */
  get uniqueLow(): number {
    return this.#view.getUint32(IN_HEADER.unique + LOW, LITTLE_ENDIAN)
  }

  get uniqueHigh(): number {
    return this.#view.getUint32(IN_HEADER.unique + HIGH, LITTLE_ENDIAN)
  }

  get nodeid(): number {
    return getU64(this.#view, IN_HEADER.nodeid)
  }

  get bodyLength(): number {
    return this.#length - IN_HEADER.bytes
  }

  u32(offset: number): number {
    return this.#view.getUint32(IN_HEADER.bytes + offset, LITTLE_ENDIAN)
  }

  u64(offset: number): number {
    return getU64(this.#view, IN_HEADER.bytes + offset)
  }

  /** The name that starts at `offset` and ends with a NUL: a copy, since whoever gets it may keep it. */
  name(offset: number): Uint8Array {
    const start = IN_HEADER.bytes + offset
    const end = this.buffer.indexOf(0, start)
    if (end < 0 || end >= this.#length) throw new TreeFault('EINVAL')
    return this.buffer.slice(start, end)
  }
}

/** Of a READ whose body is there. */
export function readRequestOf(request: Request): ReadRequest {
  const { uniqueLow, uniqueHigh, nodeid } = request
  return {
    uniqueLow,
    uniqueHigh,
    nodeid,
    offset: request.u64(READ_IN.offset),
    size: request.u32(READ_IN.size),
  }
}
