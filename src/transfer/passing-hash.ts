import { NAR_HASH_BEHIND_MAX, NAR_HASH_BYTES } from '../support/limits.ts'
import { createSha256 } from '../support/native-sha256.ts'

/** SHA-256 of what comes by, computed in the thread pool while something else is done with it. */
export class PassingHash {
  readonly #hash = createSha256()
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  /** Ends with what was handed over last. */
  #last: Promise<void> = Promise.resolve()
  readonly #behind: Promise<void>[] = []

  /** The bytes must stay as they are. A promise when the hash is far behind: to be awaited before there is more. */
  update(bytes: Uint8Array): Promise<void> | undefined {
    this.#gathered.push(bytes)
    this.#gatheredBytes += bytes.length
    // A trip to the pool costs as much as hashing some 50 KiB.
    if (this.#gatheredBytes < NAR_HASH_BYTES) return undefined
    this.#handOver()
    return this.#behind.length > NAR_HASH_BEHIND_MAX ? this.#behind.shift() : undefined
  }

  /** 32 bytes, once. */
  async digest(): Promise<Uint8Array> {
    this.#handOver()
    await this.#last
    return this.#hash.digest()
  }

  #handOver(): void {
    const gathered = this.#gathered
    this.#gathered = []
    this.#gatheredBytes = 0
    this.#last = this.#last.then(() => this.#hash.update(gathered))
    this.#last.catch(() => {}) // told by the next one, and in the end by `digest`
    this.#behind.push(this.#last)
  }
}
