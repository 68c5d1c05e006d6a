import { Digest, Digester } from '../../model/castore/digest.ts'

const NO_BYTES = new Uint8Array(0)

/**
 * Hashes a blob that arrives in pieces. Most blobs are a single piece, and hashing one at once costs a fraction
 * of starting a hasher; so the first piece is only remembered (and must stay unchanged) until a second comes.
 */
export class PieceDigester {
  #first: Uint8Array | undefined
  #digester: Digester | undefined
  /** Bytes so far. */
  size = 0

  update(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.size += piece.length
    if (this.#digester) this.#digester.update(piece)
    else if (this.#first) {
      this.#digester = new Digester()
      this.#digester.update(this.#first)
      this.#digester.update(piece)
      this.#first = undefined
    } else this.#first = piece
  }

  digest(): Digest {
    return this.#digester?.digest() ?? Digest.of(this.#first ?? NO_BYTES)
  }
}
