import type { Writable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import { concatBytes, view } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { DIRECTORY_BYTES_MAX } from '../../support/limits.ts'
import { compress, decompressionError } from '../../support/zstd.ts'
import { cutAtFrameEnds } from '../../support/zstd-frames.ts'

/**
 * The stored form of a closure (spec §3.6): one zstd stream (of one zstd frame or several) of frames, each a length as u32 big-endian and one
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
 * The encodings in a stored closure, as they come out of the decompressor. A part is asked for only when those
 * before it gave no further frame. Throws `corrupt` when the stream is broken or ends inside a frame; `source`
 * names it in the message.
 */
export async function* decodeClosure(
  parts: AsyncIterable<Uint8Array>,
  source: string,
): AsyncGenerator<Uint8Array> {
  const reader = new FrameReader(source)
  try {
    for await (const piece of decompressed(cutAtFrameEnds(parts))) yield* reader.push(piece)
  } catch (error) {
    throw decompressionError(error, DIRECTORY_BYTES_MAX, source)
  }
  reader.finish()
}

/**
 * What `parts` unfold to, in pieces of the decompressor's buffer size: a bomb unfolds no faster than it is read.
 * (A pipeline would ask for further parts ahead, and each may be a request over the network.)
 */
async function* decompressed(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decompressor = createZstdDecompress()
  const pieces: AsyncIterator<Uint8Array, undefined> = decompressor[Symbol.asyncIterator]()
  let next = nextPiece(pieces)
  try {
    for await (const part of parts) {
      const taken = write(decompressor, part)
      for (let piece = await Promise.race([next, taken]); piece; piece = await Promise.race([next, taken])) {
        if (piece.done) return
        next = nextPiece(pieces)
        yield piece.value
      }
    }
    decompressor.end()
    for (let piece = await next; !piece.done; piece = await next) {
      next = nextPiece(pieces)
      yield piece.value
    }
  } finally {
    decompressor.destroy()
  }
}

function nextPiece(
  pieces: AsyncIterator<Uint8Array, undefined>,
): Promise<IteratorResult<Uint8Array, undefined>> {
  const next = pieces.next()
  next.catch(() => {}) // awaited later, or never when the reader leaves
  return next
}

/** Resolves when the decompressor has worked on all of `part`; its failures show in the pieces. */
function write(decompressor: Writable, part: Uint8Array): Promise<undefined> {
  return new Promise((resolve) => decompressor.write(part, () => setImmediate(resolve, undefined)))
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
