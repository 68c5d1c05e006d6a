/** One buffer, one zstd frame (RFC 8878), at level 3 as every writer of the bucket layout uses (spec §3.3). */
import { promisify } from 'node:util'
import {
  constants,
  type ZstdOptions,
  zstdCompress,
  zstdCompressSync,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib'
import { view } from './bytes.ts'
import { StoreError, systemCode } from './errors.ts'
import { ZSTD_DECOMPRESS_INLINE_BYTES_MAX, ZSTD_INLINE_BYTES_MAX } from './limits.ts'

const LEVEL = 3
const MAGIC = 0xfd2fb528
/** zlib grows its output by buffers of this size; with room to spare there is a single one. */
const SPARE_BYTES = 1024

const compressInPool = promisify<Uint8Array, ZstdOptions, Uint8Array>(zstdCompress)
const decompressInPool = promisify<Uint8Array, ZstdOptions, Uint8Array>(zstdDecompress)

export async function compress(bytes: Uint8Array): Promise<Uint8Array> {
  const options = {
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    chunkSize: bytes.length + (bytes.length >>> 7) + SPARE_BYTES,
    pledgedSrcSize: bytes.length,
  }
  if (bytes.length <= ZSTD_INLINE_BYTES_MAX) return zstdCompressSync(bytes, options)
  return compressInPool(bytes, options)
}

/** Throws `corrupt` for what is no zstd frame or holds more than `maxBytes`, whatever its header says. */
export async function decompress(frame: Uint8Array, maxBytes: number, source: string): Promise<Uint8Array> {
  const size = declaredSize(frame) ?? frame.length * 4
  const chunkSize = Math.min(size, maxBytes) + SPARE_BYTES
  const options = { chunkSize, maxOutputLength: maxBytes }
  try {
    if (Math.max(size, frame.length) <= ZSTD_DECOMPRESS_INLINE_BYTES_MAX)
      return zstdDecompressSync(frame, options)
    return await decompressInPool(frame, options)
  } catch (error) {
    throw decompressionError(error, maxBytes, source)
  }
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

/** The size in the frame's header, which streaming writers leave out. A hint: it may be a lie. */
function declaredSize(frame: Uint8Array): number | undefined {
  if (frame.length < 18) return frame.length
  const header = view(frame)
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
