import type { PathInfo } from '../../../model/nix/path-info.ts'
import type { StorePath } from '../../../model/nix/store-path.ts'
import type { PathInfoService } from '../../../services/pathinfos/interface.ts'
import { type Call, throwIfAborted, withDeadline } from '../../../support/call.ts'
import { mapConcurrent } from '../../../support/concurrency.ts'
import { PAGES_CLOSURE_GETS_MAX } from '../../../support/limits.ts'

/** A path and all that it refers to, directly or not. */
export interface Closure {
  /** Those that are here, from the path itself outwards. */
  readonly paths: readonly ClosurePath[]
  /** Those that are referred to and not here. */
  readonly missing: readonly StorePath[]
  /** Bytes of their NARs together. */
  readonly narSize: bigint
  /** Whether the walk came to its end, within its limits. */
  readonly isComplete: boolean
}

export interface ClosurePath {
  readonly storePath: StorePath
  readonly narSize: bigint
}

export interface ClosureLimits {
  readonly paths: number
  readonly ms: number
}

/** Follows references breadth first until a limit is reached; what was found by then is the answer. */
export async function closureOf(
  pathInfos: PathInfoService,
  root: PathInfo,
  limits: ClosureLimits,
  call?: Call,
): Promise<Closure> {
  using timed = withDeadline(call, limits.ms, `closure of ${root.storePath}`)
  const walk = new ClosureWalk(root, limits.paths)
  try {
    for (let level = walk.takeLevel(); level.length > 0; level = walk.takeLevel()) {
      const get = async (path: StorePath, each: Call) => ({
        path,
        info: await pathInfos.get(path.digest, each),
      })
      for await (const { path, info } of mapConcurrent(level, PAGES_CLOSURE_GETS_MAX, get, timed))
        walk.add(path, info)
    }
  } catch (error) {
    throwIfAborted(call?.signal)
    if (!timed.signal.aborted) throw error
    walk.isComplete = false
  }
  return walk
}

class ClosureWalk implements Closure {
  readonly paths: ClosurePath[] = []
  readonly missing: StorePath[] = []
  narSize = 0n
  isComplete = true
  readonly #seen = new Set<string>()
  readonly #pathsMax: number
  #level: StorePath[] = []

  constructor(root: PathInfo, pathsMax: number) {
    this.#pathsMax = pathsMax
    this.#seen.add(root.storePath.toString())
    this.add(root.storePath, root)
  }

  /** What the paths so far refer to that was not asked for yet. */
  takeLevel(): StorePath[] {
    const level = this.#level
    this.#level = []
    return level
  }

  add(path: StorePath, info: PathInfo | undefined): void {
    if (!info) {
      this.missing.push(path)
      return
    }
    this.paths.push({ storePath: info.storePath, narSize: info.narSize })
    this.narSize += info.narSize
    for (const reference of info.references) this.#see(reference)
  }

  #see(reference: StorePath): void {
    const basename = reference.toString()
    if (this.#seen.has(basename)) return
    if (this.#seen.size >= this.#pathsMax) {
      this.isComplete = false
      return
    }
    this.#seen.add(basename)
    this.#level.push(reference)
  }
}
