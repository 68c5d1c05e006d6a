import { LRUCache } from 'lru-cache'
import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { compact } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { closurePutter } from './closure-putter.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'
import { decodeStored, encodeForStorage } from './stored.ts'
import { traverse } from './traverse.ts'

const SOURCE = 'lru'

/**
 * The `capacity` directories that were used last, in memory. A closure of which something was dropped is absent, but
 * for the directories of it that are left.
 */
export function lruDirectoryService(capacity: number): DirectoryService {
  return new LruDirectoryService(capacity)
}

class LruDirectoryService implements DirectoryService {
  readonly #stored: LRUCache<string, Uint8Array>

  constructor(capacity: number) {
    this.#stored = new LRUCache({ max: capacity })
  }

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    throwIfAborted(call?.signal)
    return this.#load(digest)
  }

  async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    throwIfAborted(call?.signal)
    // Held before the first is yielded: anything may be dropped while a reader takes its time.
    const closure = this.#closure(digest)
    if (closure) yield* traverse(digest, async ({ key }) => closure.get(key), SOURCE, call)
  }

  async put(directory: Directory, call?: Call): Promise<Digest> {
    throwIfAborted(call?.signal)
    this.#stored.set(directory.digest.key, compact(encodeForStorage(directory)))
    return directory.digest
  }

  startPutter(call?: Call): DirectoryPutter {
    return closurePutter(async ({ leavesToRoot }) => {
      for (const { digest, encoded } of leavesToRoot) this.#stored.set(digest.key, compact(encoded))
    }, call)
  }

  #load(digest: Digest): Directory | undefined {
    const bytes = this.#stored.get(digest.key)
    return bytes && decodeStored(bytes, digest, SOURCE)
  }

  #closure(root: Digest): Map<string, Directory> | undefined {
    const closure = new Map<string, Directory>()
    const queue = [root]
    for (let digest = queue.pop(); digest; digest = queue.pop()) {
      if (closure.has(digest.key)) continue
      const directory = this.#load(digest)
      if (!directory) return undefined
      closure.set(digest.key, directory)
      for (const child of directory.children()) queue.push(child.digest)
    }
    return closure
  }
}
