import type { BlobStream } from '../../services/blobs/interface.ts'
import { compact } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'

/**
 * All of a stream that must hold exactly `size` bytes. Stops reading as soon as there are more. Throws
 * `corrupt`, naming both sizes.
 */
export async function collectExactly(stream: BlobStream, size: number): Promise<Uint8Array> {
  let first: Uint8Array | undefined
  let whole: Uint8Array | undefined
  let length = 0
  for await (const piece of stream) {
    if (length + piece.length > size)
      throw new StoreError('corrupt', `holds more than the ${size} bytes that are recorded for it`)
    if (length === 0) first = piece
    else {
      whole ??= startWhole(first!, size)
      whole.set(piece, length)
    }
    length += piece.length
  }
  if (length < size)
    throw new StoreError('corrupt', `holds ${length} bytes where ${size} are recorded for it`)
  return whole ?? compact(first ?? new Uint8Array(0))
}

function startWhole(first: Uint8Array, size: number): Uint8Array {
  const whole = new Uint8Array(size)
  whole.set(first)
  return whole
}
