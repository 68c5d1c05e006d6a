import { StoreError } from '../../support/errors.ts'
import type { SourceSet } from '../source-set.ts'
import type { PathInfoService } from './interface.ts'

/**
 * Path infos from the first of several sources that has them. A listing is that of all of them, each path once, by
 * the first source that lists it. Nothing can be stored.
 */
export function priorityPathInfoService(set: SourceSet<PathInfoService>): PathInfoService {
  return {
    get: async (outputHash, call) =>
      (await set.ask(call, (each, inner) => each.get(outputHash, inner)))?.value,
    async put() {
      throw new StoreError(
        'unimplemented',
        'these path infos can only be read: a list of sources takes no writes',
      )
    },
    async *list(call) {
      const listed = new Set<string>()
      for (const { service } of set.sources)
        for await (const pathInfo of service.list(call)) {
          const key = pathInfo.storePath.toString()
          if (listed.has(key)) continue
          listed.add(key)
          yield pathInfo
        }
    },
  }
}
