import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { CACHE_CLOSURE_BYTES_MAX } from '../../support/limits.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'
import { leavesToRoot } from './leaves-to-root.ts'

/**
 * Keeps near what is read from far (spec §3.4, "cache"): when a directory is missing, its whole closure is fetched
 * with one recursive call, since whoever looks at a directory is about to look below it. Both sides must verify. A
 * near that fails costs time and a line in the log; but absence is said only when both answered. Takes no writes, as
 * upstream: `write-through` is for those.
 */
export function cacheDirectoryService(
  near: Source<DirectoryService>,
  far: Source<DirectoryService>,
  set: Pick<SourceSet<DirectoryService>, 'failed'>,
): DirectoryService {
  return new CacheDirectoryService(near, far, set)
}

/** A closure from the root to the leaves; `tooLarge` to be held. */
type Fetched = readonly Directory[] | 'tooLarge'

class CacheDirectoryService implements DirectoryService {
  readonly #near: Source<DirectoryService>
  readonly #far: Source<DirectoryService>
  readonly #set: Pick<SourceSet<DirectoryService>, 'failed'>
  readonly #fetches = new SingleFlight<string, Fetched>()

  constructor(
    near: Source<DirectoryService>,
    far: Source<DirectoryService>,
    set: Pick<SourceSet<DirectoryService>, 'failed'>,
  ) {
    this.#near = near
    this.#far = far
    this.#set = set
  }

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    let failure: StoreError | undefined
    try {
      const known = await this.#near.service.get(digest, call)
      if (known) return known
    } catch (error) {
      failure = this.#nearFailed(error, call)
    }
    const fetched = await this.#fetches.run(digest.key, (inner) => this.#fetch(digest, inner), call)
    if (fetched === 'tooLarge') return await this.#far.service.get(digest, call)
    if (fetched.length === 0 && failure) throw failure
    return fetched[0]
  }

  async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    const yielded = new Set<string>()
    let failure: StoreError | undefined
    try {
      for await (const directory of this.#near.service.getRecursive(digest, call)) {
        yielded.add(directory.digest.key)
        yield directory
      }
      if (yielded.size > 0) return
    } catch (error) {
      failure = this.#nearFailed(error, call)
    }
    for await (const directory of await this.#closure(digest, call)) {
      throwIfAborted(call?.signal)
      failure = undefined
      if (!yielded.has(directory.digest.key)) yield directory
    }
    if (failure) throw failure
  }

  async put(): Promise<Digest> {
    throw readOnly()
  }

  startPutter(): DirectoryPutter {
    throw readOnly()
  }

  async #closure(
    digest: Digest,
    call: Call | undefined,
  ): Promise<Iterable<Directory> | AsyncIterable<Directory>> {
    const fetched = await this.#fetches.run(digest.key, (inner) => this.#fetch(digest, inner), call)
    return fetched === 'tooLarge' ? this.#far.service.getRecursive(digest, call) : fetched
  }

  async #fetch(digest: Digest, call: Call): Promise<Fetched> {
    const closure: Directory[] = []
    let bytes = 0
    for await (const directory of this.#far.service.getRecursive(digest, call)) {
      bytes += directory.encoded.length
      if (bytes > CACHE_CLOSURE_BYTES_MAX) return 'tooLarge'
      closure.push(directory)
    }
    if (closure.length > 0) await this.#keep(digest, closure, call)
    return closure
  }

  async #keep(digest: Digest, closure: readonly Directory[], call: Call): Promise<void> {
    try {
      const putter = this.#near.service.startPutter(call)
      for (const directory of leavesToRoot(digest, closure)) await putter.put(directory)
      await putter.close()
    } catch (error) {
      this.#nearFailed(error, call)
    }
  }

  /** Survived, unless it is the caller who gave up. */
  #nearFailed(error: unknown, call: Call | undefined): StoreError {
    if (call?.signal?.aborted) throw StoreError.from(call.signal.reason)
    this.#set.failed(this.#near, error)
    return StoreError.from(error)
  }
}

function readOnly(): StoreError {
  return new StoreError(
    'unimplemented',
    'a cache of directories takes no writes: store in its far side, or use write-through',
  )
}
