import { type Digest, EMPTY_DIGEST } from '../../model/castore/digest.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { CACHE_HELD_BYTES_MAX } from '../../support/limits.ts'
import type { Source } from '../source-set.ts'
import { CacheFolder } from './cache-folder.ts'
import { DividedBlobs } from './divided-blobs.ts'
import { GuardedFolder, type GuardedFolderOptions } from './guarded-folder.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import type { LocalFile } from './verified-file.ts'
import { WholeBlobs } from './whole-blobs.ts'

export interface DiskCache extends BlobService, AsyncDisposable {
  /** `undefined` when the blob is not whole on this disk; nothing is fetched for it. */
  openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined>
  /** Resolves when nothing is done in the background. */
  settled(): Promise<void>
}

export interface DiskCacheOptions extends GuardedFolderOptions {
  readonly path: string
}

/**
 * Keeps the blobs that are read from `far` as raw files in a folder, which several processes may share. A blob that
 * is read chunk by chunk fills a sparse file, at the places where the chunks belong; what is read is verified every
 * time, and what proves wrong is fetched again. Far must verify. The folder failing costs time, and nothing else.
 */
export async function openDiskCache(far: Source<BlobService>, options: DiskCacheOptions): Promise<DiskCache> {
  return new DiskBlobCache(far, await CacheFolder.open(options.path), options)
}

class DiskBlobCache implements DiskCache {
  readonly #far: Source<BlobService>
  readonly #folder: GuardedFolder
  readonly #whole: WholeBlobs
  readonly #divided: DividedBlobs

  constructor(far: Source<BlobService>, files: CacheFolder, options: DiskCacheOptions) {
    this.#far = far
    this.#folder = new GuardedFolder(files, { name: options.path, service: this }, options)
    this.#whole = new WholeBlobs(far, this.#folder)
    this.#divided = new DividedBlobs(far, this.#folder)
  }

  async has(digest: Digest, call?: Call): Promise<boolean> {
    throwIfAborted(call?.signal)
    return (await this.#whole.has(digest)) || (await this.#far.service.has(digest, call))
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    throwIfAborted(call?.signal)
    const known = await this.#divided.chunks(digest)
    if (known) return known
    const size = await this.#whole.size(digest)
    if (size !== undefined && size <= CACHE_HELD_BYTES_MAX) return []
    const list = await this.#farChunks(digest, size !== undefined, call)
    if (list) this.#divided.learn(digest, list, size !== undefined)
    return list
  }

  /** A large blob that is here as a whole is better read in chunks; if far is gone, it is still here. */
  async #farChunks(
    digest: Digest,
    isHere: boolean,
    call: Call | undefined,
  ): Promise<readonly ChunkMeta[] | undefined> {
    try {
      return (await this.#far.service.chunks(digest, call)) ?? (isHere ? [] : undefined)
    } catch (error) {
      if (!isHere || call?.signal?.aborted) throw error
      return []
    }
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    throwIfAborted(call?.signal)
    if (digest.equals(EMPTY_DIGEST)) return await this.#far.service.openRead(digest, call)
    return (
      (await this.#divided.open(digest, call)) ??
      (await this.#whole.open(digest, call)) ??
      (await this.#whole.fetch(digest, call))
    )
  }

  openWrite(call?: Call): BlobWriter {
    return this.#far.service.openWrite(call)
  }

  openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined> {
    return this.#whole.openLocalFile(digest, call)
  }

  settled(): Promise<void> {
    return this.#folder.settled()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.settled()
  }
}
