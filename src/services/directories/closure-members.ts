import { LRUCache } from 'lru-cache'
import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { compact } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { SingleFlight } from '../../support/concurrency.ts'
import { CLOSURE_MEMBER_BYTES_MAX, CLOSURE_MEMBERS_MAX } from '../../support/limits.ts'
import { decodeStored } from './stored.ts'

/**
 * Directories that are found in the closures of others only: other programs write closures without an index (spec
 * §3.6). Whoever asks for such a directory has met its parent here before, so it is known whose closure has it; that is
 * then read as a whole, since the next questions are about its other directories.
 */
export class ClosureMembers {
  readonly #read: (root: Digest, call: Call) => AsyncIterable<Directory>
  /** The latest last. A map grows with what is in it, where an LRUCache takes its memory at once. */
  readonly #roots = new Map<string, Digest>()
  readonly #kept = new LRUCache<string, Uint8Array>({
    maxSize: CLOSURE_MEMBER_BYTES_MAX,
    sizeCalculation: (encoded) => encoded.length + 1,
  })
  readonly #readings = new SingleFlight<string, void>()

  /** `read` gives a closure, root first. */
  constructor(read: (root: Digest, call: Call) => AsyncIterable<Directory>) {
    this.#read = read
  }

  /** Whoever read `directory`, in the closure of `root`, may ask for its sub-directories next. */
  met(root: Digest, directory: Directory): void {
    for (const { digest } of directory.children()) {
      this.#roots.delete(digest.key)
      this.#roots.set(digest.key, root)
      if (this.#roots.size > CLOSURE_MEMBERS_MAX) this.#roots.delete(this.#roots.keys().next().value!)
    }
  }

  /** One that is in memory already. */
  kept(digest: Digest): Directory | undefined {
    const encoded = this.#kept.get(digest.key)
    return encoded && decodeStored(encoded, digest, 'closure')
  }

  /** `undefined` for one that no closure had which was read before. */
  async find(digest: Digest, call: Call | undefined): Promise<Directory | undefined> {
    const root = this.#roots.get(digest.key)
    if (!root) return undefined
    await this.#readings.run(root.key, (own) => this.#keepAll(root, own), call)
    return this.kept(digest) ?? (await this.#findIn(root, digest, call))
  }

  async #keepAll(root: Digest, call: Call): Promise<void> {
    for await (const directory of this.#read(root, call))
      this.#kept.set(directory.digest.key, compact(directory.encoded))
  }

  /** In a closure that is larger than what is kept. */
  async #findIn(root: Digest, digest: Digest, call: Call | undefined): Promise<Directory | undefined> {
    for await (const directory of this.#read(root, call ?? {}))
      if (directory.digest.equals(digest)) return directory
    return undefined
  }
}
