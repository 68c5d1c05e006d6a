import type { BigIntStats } from 'node:fs'
import { view } from '../../support/bytes.ts'

/** What can be told of a file and its contents without reading them. */
export type FileStats = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>

/** `struct file_state` of native/chunk_source.h, in the byte order of this machine. */
export const FILE_STATE_BYTES = 40

/** Two files, or one at two times, are the same unwritten file when these bytes are: the time of change cannot be set. */
export function encodeFileState({ dev, ino, size, mtimeNs, ctimeNs }: FileStats): Uint8Array {
  return new Uint8Array(new BigUint64Array([dev, ino, size, mtimeNs, ctimeNs]).buffer)
}

export function decodeFileState(state: Uint8Array): FileStats {
  const bytes = view(state)
  return {
    dev: bytes.readBigUint64LE(0),
    ino: bytes.readBigUint64LE(8),
    size: bytes.readBigUint64LE(16),
    mtimeNs: bytes.readBigInt64LE(24),
    ctimeNs: bytes.readBigInt64LE(32),
  }
}
