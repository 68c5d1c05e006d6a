/** Buffers as zstd frames (RFC 8878), at level 3 as every writer of the bucket layout uses (spec §3.3). */
import { promisify } from 'node:util'
import {
  constants,
  type ZstdOptions,
  zstdCompress,
  zstdCompressSync,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib'
import { concatBytes, view } from './bytes.ts'
import { StoreError, systemCode } from './errors.ts'
import {
  ZSTD_COPY_INLINE_BYTES_MAX,
  ZSTD_DECOMPRESS_INLINE_BYTES_MAX,
  ZSTD_INLINE_BYTES_MAX,
} from './limits.ts'
import { type NativeCodec, nativeCodec } from './native-codec.ts'
import { looksLikeNoise, storedFrame } from './zstd-stored.ts'

export const ZSTD_LEVEL = 3
const MAGIC = 0xfd2fb528
/** zlib grows its output by buffers of this size; with room to spare there is a single one. */
const SPARE_BYTES = 1024

// Not made before they are called: node:zlib takes milliseconds to load, and the published program loads it when it is used.
const compressInPool = (bytes: Uint8Array, options: ZstdOptions) =>
  promisify<Uint8Array, ZstdOptions, Uint8Array>(zstdCompress)(bytes, options)
/** What `info: true` makes of the result; Node's types do not know it. */
interface Unfolded {
  readonly buffer: Uint8Array
  /** Its `bytesWritten` is how much of the input it read. */
  readonly engine: { readonly bytesWritten: number }
}
const decompressInPool = (frame: Uint8Array, options: ZstdOptions) =>
  promisify<Uint8Array, ZstdOptions, Unfolded>(zstdDecompress as never)(frame, options)
const decompressOnSpot = (frame: Uint8Array, options: ZstdOptions) =>
  zstdDecompressSync(frame, options) as unknown as Unfolded

/** Where small buffers are compressed to, before as much as they take is kept. */
const scratch = new Uint8Array(ZSTD_INLINE_BYTES_MAX + (ZSTD_INLINE_BYTES_MAX >>> 7) + SPARE_BYTES)

/** `codec`: what there is of it; for tests. */
export async function compress(bytes: Uint8Array, codec = nativeCodec): Promise<Uint8Array> {
  if (codec && bytes.length <= ZSTD_INLINE_BYTES_MAX) {
    const length = codec.zstdCompress(bytes, scratch, ZSTD_LEVEL)
    if (length > 0) return new Uint8Array(scratch.subarray(0, length))
  }
  if (bytes.length > ZSTD_INLINE_BYTES_MAX && looksLikeNoise(bytes)) return storedFrame(bytes)
  const options = {
    params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
    chunkSize: bytes.length + (bytes.length >>> 7) + SPARE_BYTES,
    pledgedSrcSize: bytes.length,
  }
  if (bytes.length <= ZSTD_INLINE_BYTES_MAX) return zstdCompressSync(bytes, options)
  return compressInPool(bytes, options)
}

/**
 * All frames of an object, one after the other: writers may use several. Throws `corrupt` for what is no zstd frame or
 * holds more than `maxBytes`, whatever its header says. `codec`: as for `compress`.
 */
export async function decompress(
  frames: Uint8Array,
  maxBytes: number,
  source: string,
  codec = nativeCodec,
): Promise<Uint8Array> {
  const small = codec && decompressSmall(frames, maxBytes, codec)
  if (small) return small
  const contents: Uint8Array[] = []
  let rest = frames
  let size = 0
  try {
    do {
      const { buffer, engine } = await decompressFrame(rest, maxBytes - size)
      contents.push(buffer)
      size += buffer.length
      // Node stops at the end of a frame, and drops what follows.
      rest = rest.subarray(engine.bytesWritten)
    } while (rest.length > 0)
  } catch (error) {
    throw decompressionError(error, maxBytes, source)
  }
  return contents.length === 1 ? contents[0]! : concatBytes(contents, size)
}

/**
 * A small object that is one frame and true to its header, as nearly all are. For anything else `undefined`: then it is
 * node:zlib that says what is wrong, or reads it.
 */
function decompressSmall(frame: Uint8Array, maxBytes: number, codec: NativeCodec): Uint8Array | undefined {
  const size = declaredSize(frame)
  if (size === undefined || size === 0 || size > maxBytes) return undefined
  // What did not shrink is in raw blocks, which are copied.
  const bytesMax = frame.length >= size ? ZSTD_COPY_INLINE_BYTES_MAX : ZSTD_DECOMPRESS_INLINE_BYTES_MAX
  if (Math.max(size, frame.length) > bytesMax) return undefined
  const contents = Buffer.allocUnsafeSlow(size)
  return codec.zstdDecompress(frame, contents) === size ? contents : undefined
}

async function decompressFrame(frame: Uint8Array, maxBytes: number): Promise<Unfolded> {
  const size = declaredSize(frame) ?? frame.length * 4
  // Node takes no limit of 0, and a frame may be empty.
  const options = {
    chunkSize: Math.min(size, maxBytes) + SPARE_BYTES,
    maxOutputLength: Math.max(1, maxBytes),
    info: true,
  }
  if (Math.max(size, frame.length) <= ZSTD_DECOMPRESS_INLINE_BYTES_MAX)
    return decompressOnSpot(frame, options)
  return await decompressInPool(frame, options)
}

/** What a decompressor threw, as a StoreError; any other error as it is. */
export function decompressionError(error: unknown, maxBytes: number, source: string): unknown {
  const code = systemCode(error) ?? ''
  if (code === 'ERR_BUFFER_TOO_LARGE')
    return new StoreError('corrupt', `${source} holds more than ${maxBytes} bytes`, { cause: error })
  const isZstd = error instanceof Error && (code.startsWith('ZSTD_error') || code === 'Z_BUF_ERROR')
  if (!isZstd) return error
  return new StoreError('corrupt', `${source} is not a zstd frame: ${error.message}`, { cause: error })
}

/** Magic, descriptor, window, dictionary, size: what a header has at most. */
const HEADER_BYTES_MAX = 18
const NO_BYTES = Buffer.alloc(HEADER_BYTES_MAX)

/** The size in the frame's header, which streaming writers leave out. A hint: it may be a lie. */
function declaredSize(frame: Uint8Array): number | undefined {
  const header = frame.length < HEADER_BYTES_MAX ? Buffer.concat([frame, NO_BYTES]) : view(frame)
  if (header.readUInt32LE(0) !== MAGIC) return undefined
  const descriptor = header[4]!
  const singleSegment = (descriptor & 0x20) !== 0
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
  const offset = 5 + (singleSegment ? 0 : 1) + dictionaryBytes
  switch (descriptor >>> 6) {
    case 0:
      return singleSegment ? header[offset] : undefined
    case 1:
      return header.readUInt16LE(offset) + 256
    case 2:
      return header.readUInt32LE(offset)
    default:
      return Number(header.readBigUInt64LE(offset))
  }
}
