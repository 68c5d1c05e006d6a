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
