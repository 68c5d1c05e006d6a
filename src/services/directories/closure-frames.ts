import { pipeline, Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import { concatBytes, view } from '../../support/bytes.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import { DIRECTORY_BYTES_MAX } from '../../support/limits.ts'
import { compress } from '../blobs/zstd.ts'

/**
 * The stored form of a closure (spec §3.6): one zstd stream of frames, each a length as u32 big-endian and one
 * encoded Directory, from the root to the leaves.
 */
const LENGTH_BYTES = 4

/** `encodings`: root to leaves. */
export async function encodeClosure(encodings: readonly Uint8Array[]): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for (const encoding of encodings) {
    const length = Buffer.alloc(LENGTH_BYTES)
    length.writeUInt32BE(encoding.length)
    parts.push(length, encoding)
  }
  return compress(concatBytes(parts))
}

/**
 * The encodings in a stored closure, as they come out of the decompressor: leaving early stops reading `parts`.
 * Throws `corrupt` when the stream is broken or ends inside a frame; `source` names it in the message.
 */
export async function* decodeClosure(
  parts: AsyncIterable<Uint8Array>,
  source: string,
): AsyncGenerator<Uint8Array> {
  const reader = new FrameReader(source)
  // A decompressor hands out pieces of its own buffer size, so a bomb unfolds no faster than it is read.
  const decompressor = createZstdDecompress()
  const plain = pipeline(Readable.from(parts, { highWaterMark: 1 }), decompressor, () => {
    // Failures reach the loop below, through the decompressor.
  })
  try {
    for await (const piece of plain as AsyncIterable<Buffer>) yield* reader.push(piece)
  } catch (error) {
    if (error instanceof StoreError || !isZstdError(error)) throw error
    throw new StoreError('corrupt', `${source} does not decompress: ${error.message}`, { cause: error })
  }
  reader.finish()
}

/** Cuts a byte stream into frames. */
class FrameReader {
  readonly #source: string
  #pieces: Uint8Array[] = []
  #buffered = 0
  /** Bytes that must be there before the next step: a length, or a length and its frame. */
  #needed = LENGTH_BYTES

  constructor(source: string) {
    this.#source = source
  }

  *push(piece: Uint8Array): Generator<Uint8Array> {
    this.#pieces.push(piece)
    this.#buffered += piece.length
    // Joined only when enough is there: joining at every piece would copy a large frame many times.
    if (this.#buffered < this.#needed) return
    let bytes = concatBytes(this.#pieces, this.#buffered)
    while (bytes.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + this.#frameLength(bytes)
      this.#needed = end
      if (bytes.length < end) break
      yield bytes.subarray(LENGTH_BYTES, end)
      bytes = bytes.subarray(end)
      this.#needed = LENGTH_BYTES
    }
    this.#pieces = [bytes]
    this.#buffered = bytes.length
  }

  finish(): void {
    if (this.#buffered > 0)
      throw new StoreError(
        'corrupt',
        `${this.#source} ends inside a frame: ${this.#buffered} bytes are left over`,
      )
  }

  #frameLength(bytes: Uint8Array): number {
    const length = view(bytes).readUInt32BE(0)
    if (length > DIRECTORY_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `${this.#source} holds a directory of ${length} bytes; the limit is ${DIRECTORY_BYTES_MAX}`,
      )
    return length
  }
}

function isZstdError(error: unknown): error is Error {
  const code = systemCode(error) ?? ''
  return error instanceof Error && (code.startsWith('ZSTD_error') || code === 'Z_BUF_ERROR')
}
