import { loadAddon } from './addon.ts'

declare const sourceBrand: unique symbol
/** Chunks of this machine, as the addon reads them. */
export interface NativeChunkSource {
  readonly [sourceBrand]: true
}

/** native/codec.c. What answers with a number says less than 0 when it failed; none throws. */
export interface NativeCodec {
  /** The digest of a message, in the 32 bytes of `into`. */
  blake3(bytes: Uint8Array, into: Uint8Array): number
  /** One frame with the size of its contents, in `into`: how many bytes it has. */
  zstdCompress(bytes: Uint8Array, into: Uint8Array, level: number): number
  /** All frames, into `into`: how many bytes were in them. */
  zstdDecompress(frames: Uint8Array, into: Uint8Array): number
  /** See src/services/blobs/local-chunks.ts; the folder need not be there before the first chunk is. */
  openChunkSource(kind: string, folder: string): NativeChunkSource | number
  loadChunks(source: NativeChunkSource, records: Uint8Array, into: Uint8Array): Promise<void> | number
  /**
   * In the thread pool: 1 when what is in the frames fills `into` and has this digest. Neither `frames` nor `into` may be touched
   * until then.
   */
  unpackChunk(frames: Uint8Array, digest: Uint8Array, into: Uint8Array): Promise<number> | number
  /** One chunk of LOCAL_CHUNK_NOW_BYTES_MAX at most, verified, which fills `into`; 1 when that took no waiting for a disk. */
  loadChunkNow(source: NativeChunkSource, digest: Uint8Array, place: Uint8Array, into: Uint8Array): number
}

/** `undefined` where the addon was not built: everything works without it, only slower. */
export const nativeCodec: NativeCodec | undefined = load()

function load(): NativeCodec | undefined {
  try {
    const codec = loadAddon('codec') as NativeCodec
    return isWorking(codec) ? codec : undefined
  } catch {
    return undefined
  }
}

/** A Node.js that was built with a libzstd of the system may not export it. */
function isWorking(codec: NativeCodec): boolean {
  const frame = new Uint8Array(64)
  const contents = new Uint8Array(3)
  const length = codec.zstdCompress(Uint8Array.of(1, 2, 3), frame, 3)
  return (
    length > 0 &&
    codec.zstdDecompress(frame.subarray(0, length), contents) === 3 &&
    contents.join() === '1,2,3'
  )
}
