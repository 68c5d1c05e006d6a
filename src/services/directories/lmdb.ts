import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { type LmdbTable, openLmdbTable } from '../lmdb-table.ts'
import { closurePutter } from './closure-putter.ts'
import type { DirectoryPutter, LocalDirectoryService } from './interface.ts'
import { decodeStored, encodeForStorage } from './stored.ts'
import { traverse } from './traverse.ts'

/** Directories in an LMDB file: canonical encodings under their 32-byte digests. A closure is one transaction. */
export async function openLmdbDirectoryService(
  path: string,
): Promise<LocalDirectoryService & AsyncDisposable> {
  return new LmdbDirectoryService(await openLmdbTable(path, 'directory'))
}

class LmdbDirectoryService implements LocalDirectoryService, AsyncDisposable {
  readonly #table: LmdbTable

  constructor(table: LmdbTable) {
    this.#table = table
  }

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    throwIfAborted(call?.signal)
    const bytes = this.#table.get(digest.bytes)
    return bytes && decodeStored(bytes, digest, this.#table.name)
  }

  readNow(digest: Digest): Uint8Array | undefined {
    try {
      return this.#table.get(digest.bytes)
    } catch {
      return undefined
    }
  }

  getRecursive(digest: Digest, call?: Call): AsyncIterable<Directory> {
    return traverse(digest, (child, inner) => this.get(child, inner), this.#table.name, call)
  }

  async put(directory: Directory, call?: Call): Promise<Digest> {
    throwIfAborted(call?.signal)
    await this.#table.put([{ key: directory.digest.bytes, value: encodeForStorage(directory) }])
    return directory.digest
  }

  startPutter(call?: Call): DirectoryPutter {
    return closurePutter(async ({ leavesToRoot }) => {
      await this.#table.put(
        leavesToRoot.map(({ digest, encoded }) => ({ key: digest.bytes, value: encoded })),
      )
    }, call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#table[Symbol.asyncDispose]()
  }
}
