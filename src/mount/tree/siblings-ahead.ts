import { LRUCache } from 'lru-cache'
import type { Directory } from '../../model/castore/directory.ts'
import { withDeadline } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import {
  FILL_AFAR_FETCHES_MAX,
  MOUNT_CALL_MS_MAX,
  SIBLINGS_BYTES_MAX,
  SIBLINGS_DIRECTORIES_MAX,
  SIBLINGS_MISSES_ENOUGH,
  SMALL_FILE_BYTES_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { FileReader } from './file-reader.ts'
import type { InodeNumber } from './interface.ts'

/**
 * Fetches the small files of a directory when several of them had to be fetched one by one from afar. A compiler goes through
 * headers so, and an interpreter through modules: each costs a round trip, and all of them together cost one.
 */
export class SiblingsAhead {
  readonly #files: FileReader
  readonly #logger: Logger
  readonly #closing: AbortSignal
  readonly #misses = new LRUCache<InodeNumber, number>({ max: SIBLINGS_DIRECTORIES_MAX })

  constructor(files: FileReader, logger: Logger, closing: AbortSignal) {
    this.#files = files
    this.#logger = logger
    this.#closing = closing
  }

  /** A small file of a directory has to be fetched. */
  missed(inode: InodeNumber, directory: Directory | undefined): void {
    const misses = (this.#misses.get(inode) ?? 0) + 1
    this.#misses.set(inode, misses)
    if (misses === SIBLINGS_MISSES_ENOUGH && directory) void this.#fetchSmall(directory)
  }

  /** A failure is nobody's concern here: whoever reads the file meets it again. */
  async #fetchSmall({ entries }: Directory): Promise<void> {
    using call = withDeadline({ signal: this.#closing }, MOUNT_CALL_MS_MAX, 'fetching ahead')
    const small = entries.flatMap(({ node }) =>
      node.kind === 'file' && node.size > 0 && node.size <= SMALL_FILE_BYTES_MAX
        ? [{ digest: node.digest, size: Number(node.size) }]
        : [],
    )
    const fetched = mapConcurrent(
      upTo(SIBLINGS_BYTES_MAX, small),
      FILL_AFAR_FETCHES_MAX,
      (file, inner) => this.#files.fetchAhead(file, { start: 0, end: file.size }, inner),
      call,
    )
    try {
      for await (const _ of fetched);
    } catch (error) {
      this.#logger.debug({ err: error }, 'fetching small files ahead failed')
    }
  }
}

function* upTo<T extends { readonly size: number }>(bytesMax: number, files: readonly T[]): Generator<T> {
  let bytes = 0
  for (const file of files) {
    bytes += file.size
    if (bytes > bytesMax) return
    yield file
  }
}
