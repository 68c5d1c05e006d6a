import type { PathInfo } from '../../model/nix/path-info.ts'
import { encodePathInfo } from '../../model/wire/path-info.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { PATH_INFO_LIST_PAGE } from '../../support/limits.ts'
import { type LmdbEntry, type LmdbTable, openLmdbTable } from '../lmdb-table.ts'
import type { LocalPathInfoService } from './interface.ts'
import { decodeStoredPathInfo, type LeftOut, listStored } from './stored.ts'

/**
 * Path infos in an LMDB file: the PathInfo message under the 20 bytes of the store path's hash. A later one of the
 * same path replaces the earlier. A listing is in key order and sees what is stored while it goes on, or not.
 */
export async function openLmdbPathInfoService(
  path: string,
  leftOut: LeftOut = () => {},
): Promise<LocalPathInfoService & AsyncDisposable> {
  return new LmdbPathInfoService(await openLmdbTable(path, 'pathinfo'), leftOut)
}

class LmdbPathInfoService implements LocalPathInfoService, AsyncDisposable {
  readonly #table: LmdbTable
  readonly #leftOut: LeftOut

  constructor(table: LmdbTable, leftOut: LeftOut) {
    this.#table = table
    this.#leftOut = leftOut
  }

  async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    throwIfAborted(call?.signal)
    const bytes = this.#table.get(outputHash)
    return bytes && decodeStoredPathInfo(bytes, outputHash, this.#table.name)
  }

  readNow(outputHash: Uint8Array): PathInfo | undefined {
    try {
      const bytes = this.#table.get(outputHash)
      return bytes && decodeStoredPathInfo(bytes, outputHash, this.#table.name)
    } catch {
      return undefined
    }
  }

  async put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
    throwIfAborted(call?.signal)
    await this.#table.put([{ key: pathInfo.storePath.digest, value: encodePathInfo(pathInfo) }])
    return pathInfo
  }

  async *list(call?: Call): AsyncGenerator<PathInfo> {
    yield* listStored(this.#entries(call), this.#table.name, this.#leftOut)
  }

  async *#entries(call: Call | undefined): AsyncGenerator<LmdbEntry> {
    let previous: Uint8Array | undefined
    for (;;) {
      throwIfAborted(call?.signal)
      const page = this.#table.page(previous, PATH_INFO_LIST_PAGE)
      for (const entry of page) {
        yield entry
        throwIfAborted(call?.signal)
      }
      if (page.length < PATH_INFO_LIST_PAGE) return
      previous = page.at(-1)!.key
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#table[Symbol.asyncDispose]()
  }
}
