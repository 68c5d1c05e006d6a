import type { Digest } from '../../model/castore/digest.ts'
import { equalBytes } from '../../support/bytes.ts'

/**
 * The encoded chunk lists of blobs that are being read, so that all readers of a blob have the same: that of 1 GiB takes 128 KiB.
 * One that nobody has any more is forgotten.
 */
export class ListsInUse {
  readonly #lists = new Map<string, WeakRef<Uint8Array>>()
  readonly #forget = new FinalizationRegistry<string>((key) => {
    if (!this.#lists.get(key)?.deref()) this.#lists.delete(key)
  })

  /** The one that a reader of the blob has, if it is equal to `list`, and otherwise `list`, once `check` did not throw. */
  shared(blob: Digest, list: Uint8Array, check: () => void): Uint8Array {
    const known = this.#lists.get(blob.key)?.deref()
    if (known && equalBytes(known, list)) return known
    check()
    this.#lists.set(blob.key, new WeakRef(list))
    this.#forget.register(list, blob.key)
    return list
  }
}
