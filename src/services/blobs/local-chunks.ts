import { join } from 'node:path'
import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { countBuffers } from '../../support/buffer-garbage.ts'
import { CHUNK_BYTES_MAX } from '../../support/limits.ts'
import { type NativeCodec, nativeCodec } from '../../support/native-codec.ts'
import type { SizedBlob } from './interface.ts'
import { CHUNKS_PREFIX } from './object-keys.ts'

/** As `struct wanted` of native/codec.c: the digest, the size, and whether it was loaded. */
const RECORD_BYTES = BLAKE3_BYTES + 4 + 4

/**
 * Chunks of a bucket that is a folder of this machine, read and decompressed in the thread pool by the addon: one trip for
 * many of them, where a trip for each step of each costs more than the work.
 */
export class LocalChunks {
  readonly #folder: string
  readonly #codec: NativeCodec

  /** `root`: of the bucket. `undefined` where the addon is not built. */
  static at(root: string, codec = nativeCodec): LocalChunks | undefined {
    return codec && new LocalChunks(join(root, CHUNKS_PREFIX), codec)
  }

  private constructor(folder: string, codec: NativeCodec) {
    this.#folder = folder
    this.#codec = codec
  }

  /**
   * The bytes of chunks whose sizes are known, in the order of `wanted`; nobody compared their digests. `undefined` for
   * whatever is not to be had: absent, of another size, damaged. What it is, reading it in the usual way tells.
   */
  async read(wanted: readonly SizedBlob[]): Promise<(Uint8Array | undefined)[]> {
    const sizes = wanted.map(({ size }) => (size <= CHUNK_BYTES_MAX ? size : 0))
    const records = Buffer.allocUnsafeSlow(wanted.length * RECORD_BYTES)
    let total = 0
    for (const [i, { digest }] of wanted.entries()) {
      records.set(digest.bytes, i * RECORD_BYTES)
      records.writeUInt32LE(sizes[i]!, i * RECORD_BYTES + BLAKE3_BYTES)
      records.writeUInt32LE(0, i * RECORD_BYTES + BLAKE3_BYTES + 4)
      total += sizes[i]!
    }
    const contents = Buffer.allocUnsafeSlow(total)
    countBuffers(total)
    const loading = this.#codec.loadChunks(this.#folder, records, contents)
    if (typeof loading !== 'number') await loading
    let start = 0
    return sizes.map((size, i) => {
      const chunk = contents.subarray(start, start + size)
      start += size
      const isLoaded = records[i * RECORD_BYTES + BLAKE3_BYTES + 4] === 1
      return isLoaded && size === wanted[i]!.size ? chunk : undefined
    })
  }
}
