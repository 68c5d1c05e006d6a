import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { StoreError } from './errors.ts'

/** From `src/support` and from `dist/support` alike. */
const ADDON = fileURLToPath(new URL('../../native/build/fuse_device.node', import.meta.url))

/** native/zstd.c and native/chunk_loader.c. What answers with a number says less than 0 when it failed; none throws. */
export interface NativeCodec {
  /** One frame with the size of its contents, in `into`: how many bytes it has. */
  zstdCompress(bytes: Uint8Array, into: Uint8Array, level: number): number
  /** All frames, into `into`: how many bytes were in them. */
  zstdDecompress(frames: Uint8Array, into: Uint8Array): number
  /** See src/services/blobs/local-chunks.ts. */
  loadChunks(folder: string, records: Uint8Array, into: Uint8Array): Promise<void> | number
}

let loaded: unknown

/** The addon, which mounting cannot do without. Throws `unimplemented` when it is not built. */
export function requireAddon<T>(): T {
  try {
    loaded ??= createRequire(import.meta.url)(ADDON)
    return loaded as T
  } catch (error) {
    throw new StoreError(
      'unimplemented',
      'mounting needs the native addon, which is not built; build it with: npm run build:native',
      { cause: error },
    )
  }
}

/** What the addon does faster than Node; `undefined` where it is not built, or of an older version. */
export const nativeCodec: NativeCodec | undefined = findCodec()

function findCodec(): NativeCodec | undefined {
  try {
    const addon = requireAddon<Partial<NativeCodec>>()
    return addon.loadChunks && isWorking(addon as NativeCodec) ? (addon as NativeCodec) : undefined
  } catch {
    // Everything works without it; what does not says so itself.
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
