/**
 * Store paths move into a store: contents first, several at a time; then each path is proven, by the hash of its NAR
 * as the destination has it; and it becomes visible when all its references are.
 */
import type { Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import type { PathMetadata } from '../model/nix/reference-graph.ts'
import type { NarCalculation, NarDigest, PathInfoService } from '../services/pathinfos/interface.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError, withContext } from '../support/errors.ts'
import { COPY_PATHS_AT_ONCE_MAX } from '../support/limits.ts'
import { checkPathInfo } from './check-path-info.ts'
import type { Castore, CopyTreeOptions } from './copy-tree.ts'
import { referencesFirst } from './reference-order.ts'

export interface CopyDestination extends Castore {
  readonly pathInfos: PathInfoService
  readonly narCalculation: NarCalculation
}

/** A path that the destination lacks, and the way to its contents. */
export interface CopyJob extends PathMetadata {
  /** Stores the contents in the destination. `assumed` as in copy-tree.ts; then it may be called again, `thorough`. */
  readonly bring: (options: CopyTreeOptions) => Promise<{ readonly node: Node; readonly assumed: boolean }>
}

export interface CopyPathsProgress {
  /** The contents of a path are stored; its NAR is being calculated. */
  checking(path: PathMetadata): void
  /** A path is visible. */
  done(path: PathMetadata): void
}

/**
 * Copies the paths; references that are not among them must be in the destination already. The first failure ends
 * it, with an error that names the path: what was visible by then stays, and nothing else is.
 */
export async function copyPaths(
  to: CopyDestination,
  jobs: readonly CopyJob[],
  options: Call & { readonly progress?: CopyPathsProgress | undefined },
): Promise<void> {
  const visible = new Map<string, Promise<void>>()
  const copyOne = async (job: CopyJob, call: Call): Promise<void> => {
    const pathInfo = await bringAndCheck(to, job, options.progress, call)
    // These began before, so nobody waits for one that waits for them.
    const others = job.references.map(String).filter((reference) => reference !== String(job.storePath))
    await Promise.all(others.map((reference) => visible.get(reference)))
    throwIfAborted(call.signal)
    await to.pathInfos.put(pathInfo, call)
    options.progress?.done(job)
  }
  const start = (job: CopyJob, call: Call): Promise<void> => {
    const copied = copyOne(job, call).catch((error) => {
      throw withContext(job.storePath.absolutePath, error)
    })
    visible.set(job.storePath.toString(), copied)
    return copied
  }
  for await (const _ of mapConcurrent(referencesFirst(jobs), COPY_PATHS_AT_ONCE_MAX, start, options));
}

async function bringAndCheck(
  to: CopyDestination,
  job: CopyJob,
  progress: CopyPathsProgress | undefined,
  call: Call,
): Promise<PathInfo> {
  const calculate = async (node: Node): Promise<NarDigest> => {
    progress?.checking(job)
    return await to.narCalculation.calculateNar(node, call)
  }
  const first = await job.bring({ thorough: false, ...call })
  const brought = await calculate(first.node).then(
    (nar) => ({ node: first.node, nar }),
    async (error) => {
      if (!first.assumed || !mayBeIncomplete(error)) throw error
      const { node } = await job.bring({ thorough: true, ...call })
      return { node, nar: await calculate(node) }
    },
  )
  const { bring: _, ...metadata } = job
  const pathInfo = { ...metadata, node: brought.node }
  await checkPathInfo(to, pathInfo, { node: brought.node, ...brought.nar }, call).catch((error) => {
    if (!(error instanceof ValidationError)) throw error
    throw new StoreError('corrupt', error.message, { cause: error })
  })
  return pathInfo
}

/** What a store, or a peer, says of a tree in which something is missing; peers have many words for it. */
function mayBeIncomplete(error: unknown): boolean {
  const { code } = StoreError.from(error)
  return code !== 'cancelled' && code !== 'unavailable' && code !== 'deadline'
}
