import type { Digest } from '../../model/castore/digest.ts'
import { Directory } from '../../model/castore/directory.ts'
import { countBuffers } from '../../support/buffer-garbage.ts'
import { compact } from '../../support/bytes.ts'
import { type NativeTree, nativeTree } from './native-tree.ts'

/**
 * A directory as the mount keeps it: encoded, with an index of its entries for the addon, so that walking through it
 * makes no objects. It is decoded for whatever the addon does not do.
 */
export class KeptDirectory {
  readonly digest: Digest
  readonly #encoded: Uint8Array | undefined
  #directory: Directory | undefined
  /** `null`: not tried yet. */
  #index: Uint32Array | undefined | null

  private constructor(
    digest: Digest,
    encoded: Uint8Array | undefined,
    directory: Directory | undefined,
    index: Uint32Array | null,
  ) {
    this.digest = digest
    this.#encoded = encoded
    this.#directory = directory
    this.#index = index
  }

  /** One that was verified already. */
  static of(directory: Directory): KeptDirectory {
    return new KeptDirectory(directory.digest, undefined, directory, null)
  }

  /** `undefined` for whatever is not exactly the directory with this digest; decoding it as usual tells what it is. */
  static verify(encoded: Uint8Array, digest: Digest, native: NativeTree): KeptDirectory | undefined {
    const kept = compact(encoded)
    const index = native.openDirectory(kept, digest.bytes)
    // A walk through a large store makes hundreds of megabytes of them, few of which are kept.
    countBuffers(kept.length + (index?.byteLength ?? 0))
    return index && new KeptDirectory(digest, kept, undefined, index)
  }

  /** Bytes. */
  get size(): number {
    return this.encoded.length
  }

  get count(): number {
    return this.#index?.length ?? this.directory.entries.length
  }

  get encoded(): Uint8Array {
    return this.#encoded ?? this.directory.encoded
  }

  get directory(): Directory {
    this.#directory ??= Directory.decode(this.#encoded!)
    return this.#directory
  }

  /** Where its entries begin in `encoded`, in the order of their names; `undefined` where there is no addon. */
  get index(): Uint32Array | undefined {
    if (this.#index === null) this.#index = nativeTree()?.openDirectory(this.encoded, this.digest.bytes)
    return this.#index
  }
}
