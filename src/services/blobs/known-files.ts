import { LRUCache } from 'lru-cache'
import type { Digest } from '../../model/castore/digest.ts'
import { monotonicMs } from '../../support/clock.ts'
import { HASHED_MARK_BYTES_MIN, KNOWN_FILES_MAX, KNOWN_FILES_MS } from '../../support/limits.ts'

/**
 * Tells whether the file of a blob was found to be right and nobody wrote to it since: its state then (file-state.ts), which is what it is
 * now. Reads nothing of the contents.
 */
export interface FindKnownFile {
  find(digest: Digest): Promise<Uint8Array | undefined>
  /** If that can be told without waiting. */
  findNow(digest: Digest): Uint8Array | undefined
}

interface Found {
  state: Uint8Array | undefined
  /** When to look again. */
  until: number
}

/**
 * Which files of raw blobs need not be hashed again to be read. What was found is looked for again every now and then, beside the
 * reads: a file may become known, or be replaced. Who reads by a state that is out of date finds out (native/chunk_file.h).
 */
export class KnownFiles {
  readonly #files: FindKnownFile
  readonly #now: () => number
  readonly #found = new LRUCache<string, Found>({ max: KNOWN_FILES_MAX })

  /** `now`: milliseconds on a clock that never goes back. */
  constructor(files: FindKnownFile, now = monotonicMs) {
    this.#files = files
    this.#now = now
  }

  /** For every read, without waiting: `undefined` as long as it is not known. */
  state(digest: Digest, size: number): Uint8Array | undefined {
    // Smaller ones are not marked.
    if (size < HASHED_MARK_BYTES_MIN) return undefined
    let found = this.#found.get(digest.key)
    const now = this.#now()
    if (!found) {
      // The first read need not go by chunks, which takes twenty times as long as all that this looks at.
      const state = this.#files.findNow(digest)
      found = { state, until: state ? now + KNOWN_FILES_MS : now }
      this.#found.set(digest.key, found)
    }
    if (now >= found.until) {
      found.until = now + KNOWN_FILES_MS
      void this.#look(digest, found)
    }
    return found.state
  }

  async #look(digest: Digest, found: Found): Promise<void> {
    // Whatever fails here, reading it by its chunks tells.
    found.state = await this.#files.find(digest).catch(() => undefined)
  }
}
