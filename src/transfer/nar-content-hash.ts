import { createHash, type Hash } from 'node:crypto'
import type { ContentAddress } from '../model/nix/content-address.ts'

/** What the content address is to be compared with: the NAR, or the contents of the file that it is. */
export class NarContentHash {
  readonly #ofNar: boolean
  readonly #hash: Hash
  #isFile = false

  constructor({ kind, algorithm }: ContentAddress) {
    this.#ofNar = kind === 'nar'
    this.#hash = createHash(algorithm)
  }

  nar(piece: Uint8Array): void {
    if (this.#ofNar) this.#hash.update(piece)
  }

  /** `isWhole`: the NAR is this file and nothing else, and not executable (which contents do not tell). */
  beginFile(isWhole: boolean): void {
    this.#isFile = isWhole
  }

  contents(bytes: Uint8Array): void {
    if (!this.#ofNar && this.#isFile) this.#hash.update(bytes)
  }

  digest(): Uint8Array | undefined {
    return this.#ofNar || this.#isFile ? this.#hash.digest() : undefined
  }
}
