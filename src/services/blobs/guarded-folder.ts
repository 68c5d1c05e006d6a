import type { Digest } from '../../model/castore/digest.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import { fileError } from '../objects/file-error.ts'
import type { Source, SourceSet } from '../source-set.ts'
import { CacheEviction } from './cache-eviction.ts'
import { type CacheFolder, isFull } from './cache-folder.ts'
import type { BlobService } from './interface.ts'
import { FileVerification } from './verified-file.ts'

export interface GuardedFolderOptions {
  readonly bytesMax: number
  /** Hears of failures of the folder, which are survived. */
  readonly faults?: Pick<SourceSet<BlobService>, 'failed'>
  readonly logger?: Logger
}

/** A cache folder whose failures cost time and nothing else, and that is kept below its limit. */
export class GuardedFolder {
  readonly files: CacheFolder
  readonly verification = new FileVerification()
  /** Whoever knows more of a blob forgets it. */
  onSpoilt: (digest: Digest) => void = () => {}
  readonly #here: Source<BlobService>
  readonly #faults: Pick<SourceSet<BlobService>, 'failed'> | undefined
  readonly #eviction: CacheEviction
  readonly #background = new Set<Promise<void>>()

  /** `here`: the cache, for those who hear of its failures. */
  constructor(files: CacheFolder, here: Source<BlobService>, options: GuardedFolderOptions) {
    this.files = files
    this.#here = here
    this.#faults = options.faults
    this.#eviction = new CacheEviction(files.path, options.bytesMax, options.logger ?? silentLogger)
  }

  /** What the folder cannot do is done without it. */
  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (isFull(error)) this.#eviction.diskIsFull()
      this.failed(error)
      return undefined
    }
  }

  failed(error: unknown): void {
    const told =
      systemCode(error) === undefined ? error : fileError(`the cache folder ${this.files.path}`, error)
    this.#faults?.failed(this.#here, told)
  }

  /** Removes a blob of which nothing can be trusted. */
  async spoilt(digest: Digest): Promise<void> {
    this.failed(new StoreError('corrupt', `blob ${digest} was corrupt or could not be read, and is removed`))
    this.onSpoilt(digest)
    await this.attempt(() => this.files.discard(digest))
  }

  /** Takes note of bytes that were written. */
  wrote(bytes: number): void {
    this.#eviction.wrote(bytes)
  }

  inBackground(work: Promise<void>): void {
    const running = work
      .catch((error: unknown) => this.failed(error))
      .finally(() => this.#background.delete(running))
    this.#background.add(running)
  }

  /** Resolves when nothing is done in the background. */
  async settled(): Promise<void> {
    await Promise.all(this.#background)
    await this.#eviction.settled()
  }
}
