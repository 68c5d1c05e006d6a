import { StoreError } from '../../support/errors.ts'
import type { ByteRange } from './interface.ts'

/** The part of an object of `size` bytes that `range` means: cut to the object, perhaps empty. */
export function cutRange(range: ByteRange | undefined, size: number): ByteRange {
  if (!range) return { start: 0, end: size }
  const { start, end } = range
  if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && 0 <= start && start <= end))
    throw new StoreError('invalid-argument', `${start} to ${end} is no range of bytes`)
  return { start: Math.min(start, size), end: Math.min(end, size) }
}

/** An answer with the whole of an object, or a part of it, as HTTP has it (RFC 9110 §15.3.7). */
export interface ObjectAnswer {
  /** 2xx, or 416 when the range begins beyond the end of the object. */
  readonly status: number
  /** The header. */
  readonly contentRange: string | undefined
  readonly bytes: Uint8Array
}

export const BEYOND_THE_END: ObjectAnswer = { status: 416, contentRange: undefined, bytes: new Uint8Array(0) }

/**
 * What was asked for. Servers may ignore ranges; but a part must be the one that was asked for, up to the end of the
 * object at most: throws `corrupt` for another, and for statuses that say neither whole nor part.
 */
export function wantedPart(
  { status, contentRange, bytes }: ObjectAnswer,
  range: ByteRange | undefined,
): Uint8Array {
  if (status === 416 && range) return new Uint8Array(0)
  if (status === 200) {
    const { start, end } = cutRange(range, bytes.length)
    // A copy: the part must not keep the whole in memory.
    return end - start === bytes.length ? bytes : bytes.slice(start, end)
  }
  if (status === 206 && range && isAnswerTo(range, contentRange, bytes.length)) return bytes
  const what = contentRange === undefined ? '' : `, Content-Range ${contentRange}`
  throw new StoreError('corrupt', `the answer is not what was asked for (HTTP status ${status}${what})`)
}

function isAnswerTo({ start, end }: ByteRange, contentRange: string | undefined, length: number): boolean {
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? '')?.map(Number) ?? []
  if (first === undefined || last === undefined) return false
  return (
    first === start && last + 1 === start + length && (last + 1 === end || (last < end && last + 1 === size))
  )
}
