import type { Call } from '../../support/call.ts'
import { RELOAD_LINGER_MS_MAX } from '../../support/limits.ts'
import type { LocalChunkSource, PackPlaces } from '../blobs/chunk-places.ts'
import type { BlobService } from '../blobs/interface.ts'
import type { DirectoryService } from '../directories/interface.ts'
import type { PathInfoService } from '../pathinfos/interface.ts'
import type { OpenLocalFile, ReadLocalDirectory, ReadLocalPathInfo, Stores } from './stores.ts'

/** Stores that can be opened anew while they are read, as far as a mount reads them. */
export interface ReloadableStores extends AsyncDisposable, Pick<Stores, 'sources' | 'describe' | 'labels'> {
  readonly blobs: Pick<BlobService, 'chunks' | 'openRead'>
  readonly directories: Pick<DirectoryService, 'get' | 'getRecursive'>
  readonly pathInfos: Pick<PathInfoService, 'get' | 'list'>
  readonly openLocalFile: OpenLocalFile
  /** Of those that were opened first; for addresses that stand for the same at every opening, other than composition files. */
  readonly localChunks: LocalChunkSource | undefined
  readonly localDirectory: ReadLocalDirectory
  readonly localPathInfo: ReadLocalPathInfo
  /**
   * Opens them anew, and then turns to the new ones; who reads from the old ones reads on, and they are closed after that. When
   * it rejects everything is as it was.
   */
  reload(): Promise<void>
}

/** `open` is called again for each `reload`. */
export async function openReloadableStores(open: () => Promise<Stores>): Promise<ReloadableStores> {
  return new SwappedStores(open, new Generation(await open()))
}

class SwappedStores implements ReloadableStores {
  readonly #open: () => Promise<Stores>
  readonly #retired = new Set<Promise<void>>()
  #current: Generation

  constructor(open: () => Promise<Stores>, first: Generation) {
    this.#open = open
    this.#current = first
    this.localChunks = this.#following(first.stores.localChunks)
  }

  readonly blobs: ReloadableStores['blobs'] = {
    chunks: (digest, call) => this.#current.use(({ blobs }) => blobs.chunks(digest, call)),
    openRead: (digest, call) => this.#current.useStream(({ blobs }) => blobs.openRead(digest, call)),
  }

  readonly directories: ReloadableStores['directories'] = {
    get: (digest, call) => this.#current.use(({ directories }) => directories.get(digest, call)),
    getRecursive: (digest, call) =>
      this.#current.list(({ directories }) => directories.getRecursive(digest, call)),
  }

  readonly pathInfos: ReloadableStores['pathInfos'] = {
    get: (outputHash: Uint8Array, call?: Call) =>
      this.#current.use(({ pathInfos }) => pathInfos.get(outputHash, call)),
    list: (call?: Call) => this.#current.list(({ pathInfos }) => pathInfos.list(call)),
  }

  readonly openLocalFile: OpenLocalFile = (digest, call) =>
    this.#current.use(async ({ openLocalFile }) => openLocalFile?.(digest, call))

  readonly localChunks: LocalChunkSource | undefined
  readonly localDirectory: ReadLocalDirectory = (digest) => this.#current.stores.localDirectory?.(digest)

  readonly localPathInfo: ReadLocalPathInfo = (outputHash) => this.#current.stores.localPathInfo?.(outputHash)

  readonly sources = () => this.#current.stores.sources()

  get describe(): string {
    return this.#current.stores.describe
  }

  get labels(): Stores['labels'] {
    return this.#current.stores.labels
  }

  /** Where chunks lie in packs, the store knows that is open now. */
  #following(source: LocalChunkSource | undefined): LocalChunkSource | undefined {
    if (source?.kind !== 'packs') return source
    const find: PackPlaces['find'] = (digest, place) => {
      const { localChunks } = this.#current.stores
      return localChunks?.kind === 'packs' && localChunks.places.find(digest, place)
    }
    return { ...source, places: { find } }
  }

  async reload(): Promise<void> {
    const next = new Generation(await this.#open())
    const old = this.#current
    this.#current = next
    const closing = old.retire().finally(() => this.#retired.delete(closing))
    this.#retired.add(closing)
    closing.catch(() => {}) // whoever closes the whole hears of it
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#retired, this.#current.stores[Symbol.asyncDispose]()])
  }
}

/** One opening, and how many use it now. */
class Generation {
  readonly stores: Stores
  #users = 0
  readonly #unused = Promise.withResolvers<void>()
  #isRetired = false

  constructor(stores: Stores) {
    this.stores = stores
  }

  async use<T>(work: (stores: Stores) => Promise<T>): Promise<T> {
    this.#users++
    try {
      return await work(this.stores)
    } finally {
      this.#leave()
    }
  }

  async useStream(
    open: (stores: Stores) => Promise<AsyncIterable<Uint8Array> | undefined>,
  ): Promise<AsyncIterable<Uint8Array> | undefined> {
    const stream = await this.use(open)
    return stream && this.list(() => stream)
  }

  /** In use from the first piece that is asked for to the last. */
  async *list<T>(begin: (stores: Stores) => AsyncIterable<T>): AsyncGenerator<T> {
    this.#users++
    try {
      yield* begin(this.stores)
    } finally {
      this.#leave()
    }
  }

  /** Closes it when nobody uses it any more; a reader who never comes to an end is not waited for. */
  async retire(): Promise<void> {
    this.#isRetired = true
    const late = setTimeout(() => this.#unused.resolve(), RELOAD_LINGER_MS_MAX)
    if (this.#users > 0) await this.#unused.promise
    clearTimeout(late)
    await this.stores[Symbol.asyncDispose]()
  }

  #leave(): void {
    if (--this.#users === 0 && this.#isRetired) this.#unused.resolve()
  }
}
