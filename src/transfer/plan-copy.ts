/** Which of the paths that are to be copied the destination lacks. */
import type { PathInfo } from '../model/nix/path-info.ts'
import type { PathMetadata } from '../model/nix/reference-graph.ts'
import type { StorePath } from '../model/nix/store-path.ts'
import type { PathInfoService } from '../services/pathinfos/interface.ts'
import type { Call } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { COPY_LOOKUPS_MAX, COPY_PATHS_MAX } from '../support/limits.ts'
import { findPath } from './find-path.ts'
import { walkClosure } from './walk-closure.ts'

export interface CopyPlan<T> {
  readonly missing: readonly T[]
  /** How many paths the destination has. */
  readonly present: number
}

export interface NamedPathInfos {
  readonly pathInfos: PathInfoService
  /** For messages. */
  readonly describe: string
}

/**
 * The closure of `roots` by references. The destination is asked first: what it has is not asked of the source,
 * where the answer may cost a download. Its closure is looked at all the same, since a store that substitutes on
 * demand has paths without their references. Throws `not-found` for a path that neither has, naming who refers to it.
 */
export async function planClosure(
  from: NamedPathInfos,
  to: NamedPathInfos,
  roots: readonly StorePath[],
  call?: Call,
): Promise<CopyPlan<PathInfo>> {
  const missing: PathInfo[] = []
  let present = 0
  const lookUpBoth = async (path: StorePath, own: Call, referrer?: StorePath) => {
    const there = await findPath(to.pathInfos, path, own)
    if (there) present++
    return there ?? (await takeMissing(path, own, referrer))
  }
  const takeMissing = async (path: StorePath, own: Call, referrer?: StorePath) => {
    const here = await findPath(from.pathInfos, path, own)
    const because = referrer ? `, although ${referrer.absolutePath} refers to it` : ''
    if (!here) throw new StoreError('not-found', `${path.absolutePath} is not in ${from.describe}${because}`)
    missing.push(here)
    return here
  }
  for await (const _ of walkClosure(lookUpBoth, roots, call));
  return { missing, present }
}

/** Everything that the source lists. A reference that it does not have itself is not asked for. */
export async function planAll(
  from: NamedPathInfos,
  to: NamedPathInfos,
  call?: Call,
): Promise<CopyPlan<PathInfo>> {
  return await absentFrom(to, from.pathInfos.list(call), call)
}

/**
 * The paths of a reference graph. Throws `invalid-argument` when one of them refers to a path that is neither in the
 * graph nor in the destination: it could never become visible after its references.
 */
export async function planGraph<T extends PathMetadata>(
  to: NamedPathInfos,
  graph: readonly T[],
  call?: Call,
): Promise<CopyPlan<T>> {
  const plan = await absentFrom(to, graph, call)
  const known = new Set(graph.map(({ storePath }) => storePath.toString()))
  const outside = plan.missing.flatMap(({ storePath, references }) =>
    references.filter((path) => !known.has(path.toString())).map((path) => ({ path, referrer: storePath })),
  )
  const lookUps = mapConcurrent(
    outside,
    COPY_LOOKUPS_MAX,
    async ({ path, referrer }, own) => {
      if (await findPath(to.pathInfos, path, own)) return
      throw new StoreError(
        'invalid-argument',
        `${referrer.absolutePath} refers to ${path.absolutePath}, which is neither in the reference graph nor in ${to.describe}; give the whole closure`,
      )
    },
    call,
  )
  for await (const _ of lookUps);
  return plan
}

async function absentFrom<T extends PathMetadata>(
  to: NamedPathInfos,
  paths: Iterable<T> | AsyncIterable<T>,
  call: Call | undefined,
): Promise<CopyPlan<T>> {
  const missing: T[] = []
  let present = 0
  const lookUps = mapConcurrent(
    paths,
    COPY_LOOKUPS_MAX,
    async (path, own) => ({
      path,
      isPresent: (await findPath(to.pathInfos, path.storePath, own)) !== undefined,
    }),
    call,
  )
  for await (const { path, isPresent } of lookUps) {
    if (isPresent) present++
    else missing.push(path)
    if (missing.length > COPY_PATHS_MAX)
      throw new StoreError(
        'exhausted',
        `more than ${COPY_PATHS_MAX} store paths in one copy; copy it in parts`,
      )
  }
  return { missing, present }
}
