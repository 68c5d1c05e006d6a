import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import { countOldBuffers } from '../../support/buffer-garbage.ts'
import type { Call } from '../../support/call.ts'
import type { Semaphore } from '../../support/concurrency.ts'
import { CachedFetch } from './cached-fetch.ts'
import { missing, sourceFailure } from './failures.ts'
import type { Soon } from './interface.ts'
import { KeptDirectory } from './kept-directory.ts'
import { nativeTree } from './native-tree.ts'
import type { FetchStats } from './stats.ts'

export interface DirectoryLoaderOptions {
  readonly directories: Pick<DirectoryService, 'get'>
  /** As CastoreTreeOptions. */
  readonly localDirectory: ((digest: Digest) => Uint8Array | undefined) | undefined
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
  readonly #localDirectory: DirectoryLoaderOptions['localDirectory']
  readonly #fetches: CachedFetch<KeptDirectory>

  constructor({ directories, localDirectory, source, entriesMax, slots, stats }: DirectoryLoaderOptions) {
    this.#directories = directories
    this.#localDirectory = localDirectory
    this.#source = source
    this.#fetches = new CachedFetch({
      weightMax: entriesMax,
      weigh: (directory) => directory.count + 1,
      bytes: (directory) => directory.size,
      slots,
      stats,
      dropped: (directory) => countOldBuffers(directory.size),
    })
  }

  /** What is kept, in entries. */
  get weight(): number {
    return this.#fetches.weight
  }

  /** What is in memory, without asking. */
  peek(digest: Digest): KeptDirectory | undefined {
    return this.#fetches.peek(digest.key)
  }

  /** Keeps one that came with others. */
  keep(directory: Directory): void {
    this.#fetches.keep(directory.digest.key, KeptDirectory.of(directory))
  }

  /** A directory that is referred to and not there is `corrupt`. */
  get(digest: Digest, call: Call | undefined): Soon<KeptDirectory> {
    const { key } = digest
    const here = this.#fetches.getNow(key, () => this.#readHere(digest))
    return here ?? this.#fetches.get({ key, fetch: (fetchCall) => this.#fetch(digest, fetchCall) }, call)
  }

  /** One that will be asked for, if it is on this machine. */
  readAhead(digest: Digest): KeptDirectory | undefined {
    return this.#fetches.prefetchNow(digest.key, () => this.#readHere(digest))
  }

  /** A directory of so many bytes was answered from a copy. */
  countUse(bytes: number): void {
    this.#fetches.countUse(bytes)
  }

  /** Verified. What is wrong with one that is not right tells whoever fetches it in the usual way. */
  #readHere(digest: Digest): KeptDirectory | undefined {
    const native = this.#localDirectory && nativeTree()
    const encoded = native && this.#localDirectory?.(digest)
    return encoded && KeptDirectory.verify(encoded, digest, native)
  }

  async #fetch(digest: Digest, call: Call): Promise<KeptDirectory> {
    const what = `directory ${digest}`
    let directory: Directory | undefined
    try {
      directory = await this.#directories.get(digest, call)
    } catch (error) {
      throw sourceFailure(what, this.#source, error)
    }
    if (!directory) throw missing(what, this.#source)
    return KeptDirectory.of(directory)
  }
}
