import type { BigIntStats } from 'node:fs'

/** What can be told of a file and its contents without reading them. */
export type FileStats = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>

/** `struct file_state` of native/chunk_source.h, in the byte order of this machine. */
export const FILE_STATE_BYTES = 40

/** Two files, or one at two times, are the same unwritten file when these bytes are: the time of change cannot be set. */
export function encodeFileState({ dev, ino, size, mtimeNs, ctimeNs }: FileStats): Uint8Array {
  return new Uint8Array(new BigUint64Array([dev, ino, size, mtimeNs, ctimeNs]).buffer)
}
