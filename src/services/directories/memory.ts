import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { closurePutter } from './closure-putter.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'
import { decodeStored, encodeForStorage } from './stored.ts'
import { traverse } from './traverse.ts'

const SOURCE = 'memory'

/** Directories in this process, gone when it ends. */
export function memoryDirectoryService(): DirectoryService {
  return new MemoryDirectoryService()
}

class MemoryDirectoryService implements DirectoryService {
  /** Encodings by digest: half the memory of decoded ones. */
  readonly #stored = new Map<string, Uint8Array>()

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    throwIfAborted(call?.signal)
    const bytes = this.#stored.get(digest.key)
    return bytes && decodeStored(bytes, digest, SOURCE)
  }

  getRecursive(digest: Digest, call?: Call): AsyncIterable<Directory> {
    return traverse(digest, (child, inner) => this.get(child, inner), SOURCE, call)
  }

  async put(directory: Directory, call?: Call): Promise<Digest> {
    throwIfAborted(call?.signal)
    this.#stored.set(directory.digest.key, encodeForStorage(directory))
    return directory.digest
  }

  startPutter(call?: Call): DirectoryPutter {
    return closurePutter(async ({ leavesToRoot }) => {
      for (const { digest, encoded } of leavesToRoot) this.#stored.set(digest.key, encoded)
    }, call)
  }
}
