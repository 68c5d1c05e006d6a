import { LRUCache } from 'lru-cache'
import type { Node } from '../../model/castore/node.ts'
import type { NarInfo } from '../../model/nix/narinfo.ts'
import { type PathInfo, pathInfoOf } from '../../model/nix/path-info.ts'
import { encodePathInfo } from '../../model/wire/path-info.ts'
import { hex } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import { FaultLog } from '../../support/fault-log.ts'
import {
  SUBSTITUTE_ABSENT_MAX,
  SUBSTITUTE_ABSENT_MS,
  SUBSTITUTE_KEPT_BYTES_MAX,
  SUBSTITUTE_NARINFOS_MAX,
  SUBSTITUTE_NARS_MAX,
  SUBSTITUTE_PATHS_MAX,
  SUBSTITUTE_REFUSED_MAX,
  SUBSTITUTE_REFUSED_MS,
  SUBSTITUTE_UNATTENDED_MS_MAX,
} from '../../support/limits.ts'
import { LingeringFlight } from '../../support/lingering-flight.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import type { HttpClient } from '../http-client.ts'
import type { CopyCastoreOptions, IngestedNar, IngestNar, PathInfoService } from './interface.ts'
import { blamed, NixCache } from './nix-cache.ts'
import type { NixHttpAddress } from './nix-http-address.ts'
import { whyUntrusted } from './signature-checking.ts'
import { SubstitutionLog } from './substitution-log.ts'

/** What substitution does with what it downloads. */
export interface Substitution {
  /** Stores the contents of a NAR. */
  readonly ingest: IngestNar
  /** Throws unless the ingested NAR is the one that the path info describes, its content address included. */
  readonly check: (pathInfo: PathInfo, ingested: IngestedNar, call: Call) => Promise<void>
  /**
   * Copies the tree below `node` from the castore service that may be at `origin` (`https://host:port`), and tells what
   * NAR the copy renders to.
   */
  readonly copyCastore?: (origin: string, node: Node, options: CopyCastoreOptions) => Promise<IngestedNar>
  /** Keeps a path info that was checked, for the next time; `undefined` when nothing does. */
  readonly keep?: (pathInfo: PathInfo, call: Call) => Promise<unknown>
}

export interface NixHttpOptions {
  readonly client: HttpClient
  /** At least one; asked in the order of their priorities, and in this one among equals. */
  readonly caches: readonly NixHttpAddress[]
  readonly substitution: Substitution
  readonly logger?: Logger
  /** How long a path that no cache had is not asked for again. */
  readonly absentMs?: number
}

/**
 * Path infos of Nix binary caches (spec §6.8). What `get` finds has been downloaded, checked and stored before it
 * answers: the signature by the keys of the cache's address, the NAR by the hash and size that were signed, and the
 * content address by the contents. So the first `get` of a path takes its time; it goes on when its caller has left,
 * and a later one finds the result. A cache that fails is passed over for the next; absence is told only when all of
 * them said so. There is nothing to `put` to, and nothing to `list`.
 */
export function nixHttpPathInfoService(options: NixHttpOptions): PathInfoService & AsyncDisposable {
  return new NixHttpPathInfoService(options)
}

class NixHttpPathInfoService implements PathInfoService, AsyncDisposable {
  readonly #caches: readonly NixCache[]
  readonly #substitution: Substitution
  readonly #logger: Logger
  readonly #faults: FaultLog
  readonly #flights = new LingeringFlight<string, PathInfo | undefined>(
    SUBSTITUTE_PATHS_MAX,
    SUBSTITUTE_UNATTENDED_MS_MAX,
  )
  readonly #narInfoSlots = new Semaphore(SUBSTITUTE_NARINFOS_MAX)
  readonly #narSlots = new Semaphore(SUBSTITUTE_NARS_MAX)
  readonly #known = new LRUCache<string, PathInfo>({
    maxSize: SUBSTITUTE_KEPT_BYTES_MAX,
    sizeCalculation: (pathInfo) => encodePathInfo(pathInfo).length,
  })
  readonly #absent: LRUCache<string, true>
  /** What is wrong with paths that were looked at lately, so that each look at them is not a download. */
  readonly #refused = new LRUCache<string, StoreError>({
    max: SUBSTITUTE_REFUSED_MAX,
    ttl: SUBSTITUTE_REFUSED_MS,
  })
  readonly #told = new WeakSet<StoreError>()
  readonly #underway = new Map<string, SubstitutionLog>()

  constructor({ client, caches, substitution, logger, absentMs }: NixHttpOptions) {
    this.#caches = caches.map((address) => new NixCache(client, address))
    this.#substitution = substitution
    this.#logger = logger ?? silentLogger
    this.#faults = new FaultLog(this.#logger)
    this.#absent = new LRUCache({ max: SUBSTITUTE_ABSENT_MAX, ttl: absentMs ?? SUBSTITUTE_ABSENT_MS })
  }

  async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    throwIfAborted(call?.signal)
    const key = hex(outputHash)
    const known = this.#known.get(key)
    if (known || this.#absent.has(key)) return known
    const refused = this.#refused.get(key)
    if (refused) throw refused
    try {
      return await this.#flights.run(key, (flight) => this.#find(key, outputHash, flight), call)
    } catch (error) {
      const underway = this.#underway.get(key)
      if (!underway || !call?.signal?.aborted) throw error
      underway.leave()
      throw withContext(`${underway.progress} are here, and the rest goes on to come: ask again later`, error)
    }
  }

  async put(pathInfo: PathInfo): Promise<PathInfo> {
    throw new StoreError(
      'unimplemented',
      `${pathInfo.storePath} cannot be stored in a binary cache (${this.#names}): put a service before it in the address, such as lmdb:///path`,
    )
  }

  // biome-ignore lint/correctness/useYield: it has nothing to yield
  async *list(): AsyncGenerator<PathInfo> {
    throw new StoreError('unimplemented', `binary caches cannot be listed (${this.#names})`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#flights[Symbol.asyncDispose]()
  }

  get #names(): string {
    return this.#caches.map(({ name }) => name).join(', ')
  }

  async #find(key: string, outputHash: Uint8Array, call: Call): Promise<PathInfo | undefined> {
    const failures: StoreError[] = []
    for (const cache of await this.#byPriority(failures, call)) {
      try {
        const found = await this.#findIn(cache, outputHash, call)
        if (!found) continue
        this.#known.set(key, found)
        return found
      } catch (error) {
        throwIfAborted(call.signal)
        failures.push(this.#failed(cache, error))
      }
    }
    if (failures.length > 0) throw this.#refuse(key, together(failures))
    this.#absent.set(key, true)
    return undefined
  }

  #refuse(key: string, failure: StoreError): StoreError {
    if (failure.code === 'corrupt') this.#refused.set(key, failure)
    return failure
  }

  /** All caches that may be used. One that does not say what it is counts as a failure, and may have the path. */
  async #byPriority(failures: StoreError[], call: Call): Promise<NixCache[]> {
    const infos = await Promise.allSettled(this.#caches.map((cache) => cache.info(call)))
    throwIfAborted(call.signal)
    const usable: { cache: NixCache; priority: number }[] = []
    for (const [index, info] of infos.entries()) {
      const cache = this.#caches[index]!
      if (info.status === 'rejected') failures.push(this.#failed(cache, info.reason))
      else usable.push({ cache, priority: info.value.priority })
    }
    return usable.toSorted((a, b) => a.priority - b.priority).map(({ cache }) => cache)
  }

  #failed(cache: NixCache, error: unknown): StoreError {
    const failure = StoreError.from(error)
    // A cache that is down says the same for a while, to everybody.
    if (!this.#told.has(failure))
      this.#logger.warn({ cache: cache.name, reason: failure.message }, 'cannot substitute')
    this.#told.add(failure)
    return failure
  }

  async #findIn(cache: NixCache, outputHash: Uint8Array, call: Call): Promise<PathInfo | undefined> {
    const narInfo = await this.#narInfoSlots.run(() => cache.narInfo(outputHash, call), 1, call.signal)
    if (!narInfo) return undefined
    const { trustedKeys } = cache.address
    const distrust = trustedKeys && whyUntrusted(narInfo, trustedKeys)
    // A content-addressed path is its own proof, which its NAR is going to be compared with.
    if (distrust && !narInfo.ca) throw new StoreError('corrupt', `${cache.name}: ${distrust}`)
    return await this.#narSlots.run(() => this.#substitute(cache, narInfo, call), 1, call.signal)
  }

  async #substitute(cache: NixCache, narInfo: NarInfo, call: Call): Promise<PathInfo> {
    using log = new SubstitutionLog(this.#logger, narInfo, cache.name)
    const key = hex(narInfo.storePath.digest)
    this.#underway.set(key, log)
    try {
      const pathInfo =
        (await this.#copyCastore(cache, narInfo, log, call)) ??
        (await this.#ingest(cache, narInfo, log, call))
      await this.#substitution.keep?.(pathInfo, call)
      log.done()
      return pathInfo
    } finally {
      this.#underway.delete(key)
    }
  }

  /** The shorter way, where the cache is a nar-bridge; whatever is wrong with it, there is the NAR. */
  async #copyCastore(
    cache: NixCache,
    narInfo: NarInfo,
    progress: SubstitutionLog,
    call: Call,
  ): Promise<PathInfo | undefined> {
    const tree = cache.castoreOf(narInfo)
    if (!tree || !this.#substitution.copyCastore) return undefined
    const { narSize } = narInfo
    try {
      const copied = await this.#substitution.copyCastore(tree.origin, tree.node, {
        ...call,
        narSize,
        progress,
      })
      return await this.#checked(cache, narInfo, copied, call)
    } catch (error) {
      throwIfAborted(call.signal)
      cache.forgoCastore()
      const { code, message } = StoreError.from(error)
      // Most bridges have no castore beside them, so that is no fault; and a closure would tell of one for each path.
      if (code !== 'unimplemented')
        this.#faults.warn(
          { castore: tree.origin, reason: message },
          'cannot copy contents, downloading the NAR',
        )
      progress.restart()
      return undefined
    }
  }

  async #ingest(cache: NixCache, narInfo: NarInfo, progress: SubstitutionLog, call: Call): Promise<PathInfo> {
    const nar = cache.openNar(narInfo, call)
    const ingested = await this.#blaming(`the NAR of ${narInfo.storePath}, from ${cache.name}`, () =>
      this.#substitution.ingest(nar, { ...call, progress, contentAddress: narInfo.ca }),
    )
    return await this.#checked(cache, narInfo, ingested, call)
  }

  async #checked(cache: NixCache, narInfo: NarInfo, ingested: IngestedNar, call: Call): Promise<PathInfo> {
    const pathInfo = pathInfoOf(narInfo, ingested.node)
    await this.#blaming(cache.name, () => this.#substitution.check(pathInfo, ingested, call))
    return pathInfo
  }

  async #blaming<T>(context: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw withContext(context, blamed(error))
    }
  }
}

function together(failures: readonly StoreError[]): StoreError {
  const [first] = failures
  if (failures.length === 1) return first!
  return new StoreError(first!.code, failures.map(({ message }) => message).join('; '), { cause: first })
}
