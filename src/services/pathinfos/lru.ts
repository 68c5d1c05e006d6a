import { LRUCache } from 'lru-cache'
import type { PathInfo } from '../../model/nix/path-info.ts'
import { hex } from '../../support/bytes.ts'
import { throwIfAborted } from '../../support/call.ts'
import type { PathInfoService } from './interface.ts'

/** The `capacity` path infos that were used last, in memory (spec §3.7, "lru"). */
export function lruPathInfoService(capacity: number): PathInfoService {
  const stored = new LRUCache<string, PathInfo>({ max: capacity })
  return {
    async get(outputHash, call) {
      throwIfAborted(call?.signal)
      return stored.get(hex(outputHash))
    },
    async put(pathInfo, call) {
      throwIfAborted(call?.signal)
      stored.set(hex(pathInfo.storePath.digest), pathInfo)
      return pathInfo
    },
    async *list(call) {
      throwIfAborted(call?.signal)
      // A copy: using one moves it, and a walk over what moves can miss some.
      for (const pathInfo of [...stored.values()]) {
        yield pathInfo
        throwIfAborted(call?.signal)
      }
    },
  }
}
