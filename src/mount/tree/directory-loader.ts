import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import type { Call } from '../../support/call.ts'
import type { Semaphore } from '../../support/concurrency.ts'
import { CachedFetch } from './cached-fetch.ts'
import { missing, sourceFailure } from './failures.ts'
import type { Soon } from './interface.ts'
import type { FetchStats } from './stats.ts'

export interface DirectoryLoaderOptions {
  readonly directories: Pick<DirectoryService, 'get'>
  readonly source: string
  /** Entries of all directories kept; each directory counts one more. */
  readonly entriesMax: number
  readonly slots: Semaphore
  readonly stats: FetchStats
}

/** Directories by digest: however many paths have the same contents, they are fetched and kept once. */
export class DirectoryLoader {
  readonly #directories: Pick<DirectoryService, 'get'>
  readonly #source: string
  readonly #fetches: CachedFetch<Directory>

  constructor({ directories, source, entriesMax, slots, stats }: DirectoryLoaderOptions) {
    this.#directories = directories
    this.#source = source
    this.#fetches = new CachedFetch({
      weightMax: entriesMax,
      weigh: (directory) => directory.entries.length + 1,
      bytes: (directory) => directory.encoded.length,
      slots,
      stats,
    })
  }

  /** What is kept, in entries. */
  get weight(): number {
    return this.#fetches.weight
  }

  /** What is in memory, without asking. */
  peek(digest: Digest): Directory | undefined {
    return this.#fetches.peek(digest.key)
  }

  /** Keeps one that came with others. */
  keep(directory: Directory): void {
    this.#fetches.keep(directory.digest.key, directory)
  }

  /** A directory that is referred to and not there is `corrupt`. */
  get(digest: Digest, call: Call | undefined): Soon<Directory> {
    return this.#fetches.get({ key: digest.key, fetch: (fetchCall) => this.#fetch(digest, fetchCall) }, call)
  }

  async #fetch(digest: Digest, call: Call): Promise<Directory> {
    const what = `directory ${digest}`
    let directory: Directory | undefined
    try {
      directory = await this.#directories.get(digest, call)
    } catch (error) {
      throw sourceFailure(what, this.#source, error)
    }
    if (!directory) throw missing(what, this.#source)
    return directory
  }
}
