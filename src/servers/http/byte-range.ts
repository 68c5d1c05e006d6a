import { HTTP_RANGES_MAX } from '../../support/limits.ts'
import type { ByteRange } from './exchange.ts'

/** However many digits: an end behind the last byte means that byte. */
const SPEC = /^([0-9]*)-([0-9]*)$/

/**
 * The first range of a `Range` header (RFC 9110 §14.2) over a representation of `size` bytes: the others are left
 * out, as upstream does (spec §7.2). `undefined` for a header that is to be ignored: another unit, or none that is
 * well-formed. `unsatisfiable` beyond the end, and for more than HTTP_RANGES_MAX ranges.
 */
export function parseRange(header: string, size: number): ByteRange | 'unsatisfiable' | undefined {
  const [, set] = /^bytes=(.*)$/i.exec(header) ?? []
  if (set === undefined) return undefined
  // Counted before anything is split.
  if (set.split(',', HTTP_RANGES_MAX + 1).length > HTTP_RANGES_MAX) return 'unsatisfiable'
  const specs = set.split(',').map((spec) => SPEC.exec(spec.trim()))
  const [first] = specs
  if (!first || specs.some((spec) => !spec || (spec[1] === '' && spec[2] === ''))) return undefined
  const [, from, to] = first as unknown as [string, string, string]
  if (from === '') return suffix(Number(to), size)
  const start = Number(from)
  const last = to === '' ? size - 1 : Number(to)
  if (to !== '' && last < start) return undefined
  return start >= size ? 'unsatisfiable' : { start, end: Math.min(last + 1, size) }
}

function suffix(length: number, size: number): ByteRange | 'unsatisfiable' {
  return length === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - length), end: size }
}
