/** The 512 bytes before each entry: POSIX ustar, GNU, and V7, which has no magic (pax(1), tar(5)). */
import { concatBytes, equalBytes, utf8, view } from '../../support/bytes.ts'

export const BLOCK_BYTES = 512

export interface TarHeader {
  /** One character; NUL is told as `0`, which means the same. */
  readonly type: string
  /** As it is written, with its directories. */
  readonly path: Uint8Array
  readonly linkPath: Uint8Array
  /** Of what is stored in the archive, before padding. */
  readonly size: number
  readonly mode: number
}

const SLASH = utf8('/')
const USTAR_MAGIC = utf8('ustar\0')
const CHECKSUM = { start: 148, end: 156 }
const SPACE = 0x20

export function isZeroBlock(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0)
}

/** `undefined`: this is no header. */
export function parseHeader(block: Uint8Array): TarHeader | undefined {
  if (!hasChecksum(block)) return undefined
  const size = parseNumber(block.subarray(124, 136))
  const mode = parseNumber(block.subarray(100, 108))
  if (size === undefined || mode === undefined) return undefined
  const name = cString(block.subarray(0, 100))
  const isUstar = equalBytes(block.subarray(257, 263), USTAR_MAGIC)
  const prefix = isUstar ? cString(block.subarray(345, 500)) : block.subarray(0, 0)
  return {
    type: String.fromCharCode(block[156] || 0x30),
    path: prefix.length > 0 ? concatBytes([prefix, SLASH, name]) : name,
    linkPath: cString(block.subarray(157, 257)),
    size,
    mode,
  }
}

/** The sum of all bytes, with blanks in its own place; programs of old added them up as signed ones. */
function hasChecksum(block: Uint8Array): boolean {
  const expected = parseNumber(block.subarray(CHECKSUM.start, CHECKSUM.end))
  let [unsigned, signed] = [0, 0]
  for (let i = 0; i < BLOCK_BYTES; i++) {
    const byte = i >= CHECKSUM.start && i < CHECKSUM.end ? SPACE : block[i]!
    unsigned += byte
    signed += byte < 0x80 ? byte : byte - 0x100
  }
  return expected === unsigned || expected === signed
}

/**
 * Octal digits, or with the highest bit set a binary number, which GNU writes when the digits do not suffice. `undefined` for
 * what is neither, is negative, or does not fit into a JavaScript number.
 */
export function parseNumber(field: Uint8Array): number | undefined {
  if (field[0]! & 0x80) return parseBinary(field)
  const text = view(field).toString('latin1').replace(/\0.*$/s, '').trim()
  if (text === '') return 0
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined
}

function parseBinary(field: Uint8Array): number | undefined {
  let value = field[0]! & 0x7f
  for (const byte of field.subarray(1)) {
    value = value * 256 + byte
    if (value > Number.MAX_SAFE_INTEGER) return undefined
  }
  return value
}

/** Up to the first NUL, or all of it. */
export function cString(field: Uint8Array): Uint8Array {
  const end = field.indexOf(0)
  return field.slice(0, end < 0 ? field.length : end)
}
