import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { BIGTABLE_WRITES_MAX } from '../../support/limits.ts'
import type { BigtableTable } from '../bigtable-table.ts'
import { type CollectedDirectory, closurePutter } from './closure-putter.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'
import { decodeStored, encodeForStorage } from './stored.ts'
import { traverse } from './traverse.ts'

/** Directories in Bigtable: the canonical encoding under the digest, shared with the Rust implementation (spec §3.5). */
export function bigtableDirectoryService(table: BigtableTable): DirectoryService {
  return new BigtableDirectoryService(table)
}

class BigtableDirectoryService implements DirectoryService {
  readonly #table: BigtableTable

  constructor(table: BigtableTable) {
    this.#table = table
  }

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    const bytes = await this.#table.get(digest.bytes, call)
    return bytes && decodeStored(bytes, digest, this.#table.name)
  }

  getRecursive(digest: Digest, call?: Call): AsyncIterable<Directory> {
    return traverse(digest, (child, inner) => this.get(child, inner), this.#table.name, call)
  }

  async put(directory: Directory, call?: Call): Promise<Digest> {
    throwIfAborted(call?.signal)
    await this.#table.putIfAbsent(directory.digest.bytes, encodeForStorage(directory), call)
    return directory.digest
  }

  /** A wave at a time, so that whatever is stored has everything below it. */
  startPutter(call?: Call): DirectoryPutter {
    return closurePutter(async ({ leavesToRoot }) => {
      for (const wave of waves(leavesToRoot)) {
        const put = ({ digest, encoded }: CollectedDirectory, own: Call) =>
          this.#table.putIfAbsent(digest.bytes, encoded, own)
        for await (const _ of mapConcurrent(wave, BIGTABLE_WRITES_MAX, put, call))
          throwIfAborted(call?.signal)
      }
    }, call)
  }
}

/** First the leaves, then what refers to leaves alone, and so on. */
function waves(leavesToRoot: readonly CollectedDirectory[]): CollectedDirectory[][] {
  const heights = new Map<string, number>()
  const found: CollectedDirectory[][] = []
  for (const directory of leavesToRoot) {
    const below = directory.children.map((child) => heights.get(child.key) ?? 0)
    const height = below.reduce((highest, each) => Math.max(highest, each + 1), 0)
    heights.set(directory.digest.key, height)
    const wave = found[height]
    if (wave) wave.push(directory)
    else found[height] = [directory]
  }
  return found
}
