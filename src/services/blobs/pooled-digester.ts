import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import { StoreError } from '../../support/errors.ts'
import { HASH_STEP_BYTES, HASH_WAITING_BYTES_MAX } from '../../support/limits.ts'
import { type NativeChunker, nativeChunker } from '../../support/native-chunker.ts'
import { PieceDigester } from './piece-digester.ts'

/**
 * Hashes a blob that arrives in pieces in the thread pool, where the addon was built: hashing is a quarter of what sending a
 * stored blob costs, and the thread of JavaScript has to do the rest. The pieces must stay unchanged until `digest` has settled.
 * A blob of one piece is hashed on the spot, as is every blob without the addon.
 */
export class PooledDigester {
  readonly #native: NativeChunker | undefined
  readonly #onSpot = new PieceDigester()
  #first: Uint8Array | undefined
  #stream: Uint8Array | undefined
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #running: Promise<void> | undefined
  #failure: StoreError | undefined
  /** Bytes so far. */
  size = 0

  constructor(native = nativeChunker()) {
    this.#native = native
  }

  /** What it returns, if anything, is to be awaited before the next piece: the hash is far behind. */
  update(piece: Uint8Array): Promise<void> | undefined {
    this.size += piece.length
    if (!this.#native) return void this.#onSpot.update(piece)
    if (!this.#first) {
      this.#first = piece
      return
    }
    if (!this.#stream) {
      this.#stream = new Uint8Array(this.#native.streamBytes)
      this.#enqueue(this.#first)
    }
    this.#enqueue(piece)
    if (this.#waitingBytes >= HASH_STEP_BYTES) this.#running ??= this.#run(this.#native, this.#stream)
    return this.#waitingBytes >= HASH_WAITING_BYTES_MAX ? this.#running : undefined
  }

  async digest(): Promise<Digest> {
    if (!this.#native) return this.#onSpot.digest()
    if (!this.#stream) return Digest.of(this.#first ?? new Uint8Array(0))
    await this.#running
    await this.#run(this.#native, this.#stream)
    if (this.#failure) throw this.#failure
    const digest = new Uint8Array(BLAKE3_BYTES)
    check(this.#native.digest(this.#stream, digest))
    return Digest.fromBytes(digest)
  }

  #enqueue(piece: Uint8Array): void {
    this.#waiting.push(piece)
    this.#waitingBytes += piece.length
  }

  /** Until nothing waits. Never rejects: whoever has left before the end asks for no digest. */
  async #run(native: NativeChunker, stream: Uint8Array): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const pieces = this.#waiting
        this.#waiting = []
        this.#waitingBytes = 0
        check(await native.update(stream, pieces))
      }
    } catch (error) {
      this.#failure ??= StoreError.from(error)
    }
    this.#running = undefined
  }
}

function check(result: number): void {
  if (result < 0) throw new StoreError('internal', `the hasher failed with error ${result}`)
}
