import { loadAddon } from './addon.ts'

/** native/chunker.c. What answers with a number less than 0 failed with that errno; none throws. */
export interface NativeChunker {
  /** Of the state of a blob that is digested piece by piece; all zeros at first. */
  readonly streamBytes: number
  /** In the thread pool; see src/services/blobs/chunk-cutter.ts. */
  cut(
    parameters: BigUint64Array,
    blob: Uint8Array,
    bytes: Uint8Array,
    records: Uint8Array,
    isLast: boolean,
  ): Promise<number> | number
  /** Adds to the digest of a blob what is not cut. In the thread pool, one call after the other; the pieces must stay as they are meanwhile. */
  update(blob: Uint8Array, pieces: readonly Uint8Array[]): Promise<number> | number
  /** Of all that was added so far. */
  digest(blob: Uint8Array, into: Uint8Array): number
}

/** `undefined` where the addon was not built: everything works without it, only slower. */
export function nativeChunker(): NativeChunker | undefined {
  try {
    return loadAddon('chunker') as NativeChunker
  } catch {
    return undefined
  }
}
