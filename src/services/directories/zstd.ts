import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import { StoreError, systemCode } from '../../support/errors.ts'

const decompressInPool = promisify(zstdDecompress)

/** One zstd frame (RFC 8878) at the default level, 3, which every writer of the layout uses (spec §3.3). */
export const compress: (bytes: Uint8Array) => Promise<Uint8Array> = promisify(zstdCompress)

/** Throws `exhausted` when there are more than `maxBytes`, `corrupt` when it is no frame; `source` names it. */
export async function decompress(frame: Uint8Array, maxBytes: number, source: string): Promise<Uint8Array> {
  try {
    return await decompressInPool(frame, { maxOutputLength: maxBytes })
  } catch (error) {
    if (systemCode(error) === 'ERR_BUFFER_TOO_LARGE')
      throw new StoreError('exhausted', `${source} holds more than ${maxBytes} bytes`, { cause: error })
    throw asCorrupt(error, source)
  }
}

/** A failure of the decompressor as `corrupt`; any other error as it is. */
export function asCorrupt(error: unknown, source: string): unknown {
  const code = systemCode(error) ?? ''
  const isZstd = error instanceof Error && (code.startsWith('ZSTD_error') || code === 'Z_BUF_ERROR')
  if (!isZstd) return error
  return new StoreError('corrupt', `${source} does not decompress: ${error.message}`, { cause: error })
}
