import type { StorePath } from '../model/nix/store-path.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { COPY_LOOKUPS_MAX, COPY_PATHS_MAX } from '../support/limits.ts'
import type { Referring } from './reference-order.ts'

/**
 * Everything that is reached from `roots` by references, breadth first, each path once; several are looked up at the
 * same time. `lookUp` gets the path that referred to it, but for roots, and throws when there is no such path. Throws
 * `exhausted` above COPY_PATHS_MAX.
 */
export async function* walkClosure<T extends Referring>(
  lookUp: (path: StorePath, call: Call, referrer?: StorePath) => Promise<T>,
  roots: readonly StorePath[],
  call?: Call,
): AsyncGenerator<T> {
  const met = new Set<string>()
  const unmet = (wanted: Wanted[]) =>
    wanted.filter(({ path }) => !met.has(String(path)) && met.add(String(path)))
  for (let level = unmet(roots.map((path) => ({ path }))); level.length > 0; ) {
    if (met.size > COPY_PATHS_MAX)
      throw new StoreError(
        'exhausted',
        `more than ${COPY_PATHS_MAX} store paths in one closure; take it in parts`,
      )
    const next: Wanted[] = []
    const found = mapConcurrent(
      level,
      COPY_LOOKUPS_MAX,
      async ({ path, referrer }, own) => lookUp(path, own, referrer),
      call,
    )
    for await (const item of found) {
      yield item
      for (const path of item.references) next.push({ path, referrer: item.storePath })
    }
    level = unmet(next)
  }
}

interface Wanted {
  readonly path: StorePath
  readonly referrer?: StorePath
}
