import { CHUNK_READS_MAX, CHUNK_READS_OF_ALL_MAX } from '../../support/limits.ts'

/**
 * How far the streams of a store read ahead of their readers: as far as pays while they are few. What was read for a slow reader
 * waits in memory until it is taken, and hundreds of them are nothing unusual for a daemon.
 */
export class ReadAheadShare {
  #streams = 0

  /** What each stream may have on its way, in chunks or portions of them. */
  get width(): number {
    return Math.max(1, Math.min(CHUNK_READS_MAX, Math.floor(CHUNK_READS_OF_ALL_MAX / this.#streams)))
  }

  /** There are so many that even a portion for each is too much. */
  get isCrowded(): boolean {
    return this.#streams > CHUNK_READS_OF_ALL_MAX
  }

  /** There are so many that a new stream should not have much in memory before its reader has taken something. */
  get isBusy(): boolean {
    return this.width < CHUNK_READS_MAX
  }

  /** The pieces of one stream more, for as long as somebody reads them. */
  async *stream(portions: AsyncIterable<readonly Uint8Array[]>): AsyncGenerator<Uint8Array> {
    this.#streams++
    try {
      for await (const pieces of portions) yield* pieces
    } finally {
      this.#streams--
    }
  }
}
