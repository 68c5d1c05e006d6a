import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { Call } from '../../support/call.ts'

/** Directories under the BLAKE3 digest of their canonical encoding (spec §1.4). */
export interface DirectoryService {
  /** One directory, without what is below it; `undefined` when it is absent. */
  get(digest: Digest, call?: Call): Promise<Directory | undefined>

  /**
   * The whole closure from the root to the leaves: breadth first in entry order, each directory once (spec
   * §2.3). Yields nothing when the root is absent; throws `corrupt` when something below it is.
   */
  getRecursive(digest: Digest, call?: Call): AsyncIterable<Directory>

  /**
   * Stores one directory whose sub-directories are known to be stored already, or that has none. (Where a
   * backend keeps whole closures only, one with sub-directories is refused with `invalid-argument`.)
   */
  put(directory: Directory, call?: Call): Promise<Digest>

  /** Starts storing a closure, leaves first. */
  startPutter(call?: Call): DirectoryPutter
}

/** Directories of this machine that are there without waiting. */
export interface LocalDirectoryService extends DirectoryService {
  /** What is stored under a digest, not verified; `undefined` for whatever `get` has an answer or an error for. */
  readNow(digest: Digest): Uint8Array | undefined
}

/**
 * Takes a closure from the leaves to the root: a directory only after everything it refers to, duplicates
 * allowed, the root last, everything reachable from it. Sizes in parents are checked against their children
 * by either formula (spec §1.9). Violations throw `invalid-argument` from `put` or `close`.
 */
export interface DirectoryPutter {
  put(directory: Directory): Promise<void>

  /** Resolves with the root's digest once everything is stored. Throws on an empty upload. */
  close(): Promise<Digest>
}
