import type { PathInfo } from '../../model/nix/path-info.ts'
import { encodePathInfo } from '../../model/wire/path-info.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { BigtableTable } from '../bigtable-table.ts'
import type { PathInfoService } from './interface.ts'
import { decodeStoredPathInfo, type LeftOut, listStored } from './stored.ts'

/**
 * Path infos in Bigtable: the PathInfo message under the 20 bytes of the store path's hash, shared with the Rust
 * implementation (spec §3.5). The first one of a path stays; putting another answers with the first.
 */
export function bigtablePathInfoService(table: BigtableTable, leftOut: LeftOut = () => {}): PathInfoService {
  return new BigtablePathInfoService(table, leftOut)
}

class BigtablePathInfoService implements PathInfoService {
  readonly #table: BigtableTable
  readonly #leftOut: LeftOut

  constructor(table: BigtableTable, leftOut: LeftOut) {
    this.#table = table
    this.#leftOut = leftOut
  }

  async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    throwIfAborted(call?.signal)
    const bytes = await this.#table.get(outputHash, call)
    return bytes && decodeStoredPathInfo(bytes, outputHash, this.#table.name)
  }

  async put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
    throwIfAborted(call?.signal)
    const { digest } = pathInfo.storePath
    if (await this.#table.putIfAbsent(digest, encodePathInfo(pathInfo), call)) return pathInfo
    const stored = await this.get(digest, call)
    if (!stored)
      throw new StoreError(
        'unavailable',
        `${this.#table.name}: the path info of ${pathInfo.storePath} was removed meanwhile`,
      )
    return stored
  }

  list(call?: Call): AsyncGenerator<PathInfo> {
    return listStored(this.#table.list(call), this.#table.name, this.#leftOut)
  }
}
