import type { FileNode } from '../model/castore/node.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import { begun } from '../support/begun.ts'
import type { Call } from '../support/call.ts'
import { NAR_LARGE_AHEAD_MAX } from '../support/limits.ts'
import { readBlobRange } from './blob-range.ts'

/** The contents of one, to be read in its turn. */
export type LargeFile = () => AsyncIterableIterator<Uint8Array, unknown>

/**
 * Large files of a NAR that is rendered. Where reading needs nobody but this machine, the next ones are begun before their turn:
 * else the processors would wait for the first bytes of each. A peer is not asked so early, for he may not wait for so long.
 */
export class LargeFiles {
  readonly #blobs: BlobService
  readonly #call: Call | undefined
  /** Not yet read. */
  readonly #begun = new Set<AsyncIterableIterator<Uint8Array, unknown>>()

  constructor(blobs: BlobService, call: Call | undefined) {
    this.#blobs = blobs
    this.#call = call
  }

  add(file: FileNode, size: number): LargeFile {
    const open = () => readBlobRange(this.#blobs, file, 0, size, this.#call)
    if (!this.#blobs.readInto || this.#begun.size >= NAR_LARGE_AHEAD_MAX) return open
    const contents = begun(open())
    this.#begun.add(contents)
    return () => contents
  }

  /** Its contents are the reader's now, who reads them to the end or leaves early. */
  take(file: LargeFile): AsyncIterableIterator<Uint8Array, unknown> {
    const contents = file()
    this.#begun.delete(contents)
    return contents
  }

  /** Nobody will read what was begun. */
  async end(): Promise<void> {
    for (const contents of this.#begun) await contents.return?.()
  }
}
