import type { Digest } from '../../model/castore/digest.ts'
import type { Node } from '../../model/castore/node.ts'
import type { RootNodes } from '../../services/pathinfos/root-nodes.ts'
import { type Call, withDeadline } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { MOUNT_CALL_MS_MAX, PROFILE_FETCHES_MAX } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { DirectoryLoader } from './directory-loader.ts'
import type { FileReader } from './file-reader.ts'
import type { KeptDirectory } from './kept-directory.ts'
import { nameWithoutVersion, type ProfileEntry } from './profile.ts'
import { nameKey } from './root-names.ts'

export interface ProfilePrefetchOptions {
  readonly profile: readonly ProfileEntry[]
  readonly rootNodes: Pick<RootNodes, 'get'>
  readonly directories: DirectoryLoader
  readonly files: FileReader
  /** Fetches all directories of a store path. */
  readonly enter: (storePath: Digest) => Promise<void>
  /** Contents that are fetched ahead at most, in bytes. */
  readonly bytesMax: number
  readonly logger: Logger
  readonly closing: AbortSignal
}

/**
 * Fetches what a profile tells of, in its order. Store paths that are there are begun with at once; of those that are
 * not, another version may be looked up later, and then its part of the profile is fetched. What cannot be found or
 * fetched is left to whoever reads it.
 */
export class ProfilePrefetch {
  readonly #options: ProfilePrefetchOptions
  /** Entries of store paths that are not here, by name without version. */
  readonly #waiting = new Map<string, ProfileEntry[]>()
  readonly #roots = new Map<string, Promise<Node | undefined>>()
  #bytes = 0

  constructor(options: ProfilePrefetchOptions) {
    this.#options = options
  }

  /** Resolves when everything that can be fetched was. */
  async start(): Promise<void> {
    await this.#fetchAll(this.#options.profile, (basename, call) => this.#root(basename, call))
  }

  /** A store path was looked up and is there. */
  async found(basename: Uint8Array, node: Node): Promise<void> {
    const name = nameWithoutVersion(basename)
    const entries = this.#waiting.get(name)
    if (!entries) return
    this.#waiting.delete(name)
    await this.#fetchAll(entries, async () => node)
  }

  async #fetchAll(
    entries: readonly ProfileEntry[],
    rootOf: (basename: Uint8Array, call: Call) => Promise<Node | undefined>,
  ): Promise<void> {
    const { closing, logger } = this.#options
    const fetched = mapConcurrent(
      entries,
      PROFILE_FETCHES_MAX,
      async (entry, outer) => {
        using call = withDeadline(outer, MOUNT_CALL_MS_MAX, 'fetching what a profile tells of')
        try {
          const root = await rootOf(entry.path[0]!, call)
          if (root) await this.#fetch(entry, root, call)
          else this.#wait(entry)
        } catch (error) {
          logger.debug({ err: error }, 'fetching what a profile tells of failed')
        }
      },
      { signal: closing },
    )
    try {
      for await (const _ of fetched);
    } catch (error) {
      if (!closing.aborted) throw error
    }
  }

  #root(basename: Uint8Array, call: Call): Promise<Node | undefined> {
    const key = nameKey(basename)
    const known = this.#roots.get(key)
    if (known) return known
    const asked = this.#enter(basename, call)
    this.#roots.set(key, asked)
    return asked
  }

  /** Of each path that a profile tells of it tells much: its directories come in one call, and not level by level. */
  async #enter(basename: Uint8Array, call: Call): Promise<Node | undefined> {
    const { rootNodes, enter } = this.#options
    const node = await rootNodes.get(basename, call)
    if (node?.kind === 'directory') await enter(node.digest)
    return node
  }

  #wait(entry: ProfileEntry): void {
    const name = nameWithoutVersion(entry.path[0]!)
    const waiting = this.#waiting.get(name)
    if (waiting) waiting.push(entry)
    else this.#waiting.set(name, [entry])
  }

  async #fetch({ path, range }: ProfileEntry, root: Node, call: Call): Promise<void> {
    const { directories, files, bytesMax } = this.#options
    const node = await this.#resolve(root, path.slice(1), call)
    if (node?.kind === 'directory') await directories.get(node.digest, call)
    if (node?.kind !== 'file' || !range) return
    const size = Number(node.size)
    const end = Math.min(range.end, size)
    if (range.start >= end || this.#bytes >= bytesMax) return
    this.#bytes += end - range.start
    await files.fetchAhead({ digest: node.digest, size }, { start: range.start, end }, call)
  }

  /** The node at the end of the names, none of which may be a symlink; `undefined` when there is none. */
  async #resolve(root: Node, names: readonly Uint8Array[], call: Call): Promise<Node | undefined> {
    let node: Node | undefined = root
    for (const name of names) {
      if (node?.kind !== 'directory') return undefined
      const { directory }: KeptDirectory = await this.#options.directories.get(node.digest, call)
      node = directory.get(name)
    }
    return node
  }
}
