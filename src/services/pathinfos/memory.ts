import type { PathInfo } from '../../model/nix/path-info.ts'
import { hex } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import type { PathInfoService } from './interface.ts'

/** Path infos in this process, gone when it ends. A later one of the same path replaces the earlier. */
export function memoryPathInfoService(): PathInfoService {
  return new MemoryPathInfoService()
}

class MemoryPathInfoService implements PathInfoService {
  readonly #stored = new Map<string, PathInfo>()

  async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    throwIfAborted(call?.signal)
    return this.#stored.get(hex(outputHash))
  }

  async put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
    throwIfAborted(call?.signal)
    this.#stored.set(hex(pathInfo.storePath.digest), pathInfo)
    return pathInfo
  }

  async *list(call?: Call): AsyncGenerator<PathInfo> {
    throwIfAborted(call?.signal)
    for (const pathInfo of this.#stored.values()) {
      yield pathInfo
      throwIfAborted(call?.signal)
    }
  }
}
