import { StoreError, withContext } from '../../support/errors.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import type { LocalChunkSource } from '../blobs/chunk-places.ts'
import { verifyingBlobService } from '../blobs/verifying.ts'
import { verifyingDirectoryService } from '../directories/verifying.ts'
import { LazyWriteQueue } from '../lazy-write-queue.ts'
import type { NarCalculation } from '../pathinfos/interface.ts'
import { verifyingPathInfoService } from '../pathinfos/verifying.ts'
import { type Source, SourceSet, type SourceStats } from '../source-set.ts'
import { openWriteQueue, type WriteQueue } from '../write-queue.ts'
import type { Role } from './address.ts'
import { Backends } from './backends.ts'
import type { Graph, GraphNode } from './graph.ts'
import { KINDS, type LayerKind, type Layers, type Parts, type ServiceOf } from './kinds.ts'
import type { LayerMetrics, LayerName } from './layer-metrics.ts'
import { measuredBlobService, measuredDirectoryService, measuredPathInfoService } from './measured.ts'
import { readGraph } from './read-graph.ts'
import type {
  OpenLocalFile,
  ReadLocalDirectory,
  ReadLocalPathInfo,
  StoreAddresses,
  StoreSettings,
  Stores,
  Uploads,
} from './stores.ts'

export type { Castore, NarTransfer, StoreAddresses, StoreSettings, Stores } from './stores.ts'

/**
 * Opens what three addresses stand for. All of them are understood before any is opened. Throws as `parseAddress`
 * does, or with the address in front of what opening it said; what was opened by then is closed again.
 */
export async function openStores(addresses: StoreAddresses, settings: StoreSettings = {}): Promise<Stores> {
  return await openGraph(await readGraph(addresses), settings)
}

/** Opens the three services of a graph and what they stand on: each instance once, however many refer to it. */
export async function openGraph(graph: Graph, settings: StoreSettings = {}): Promise<Stores> {
  await using backends = new Backends()
  const opening = new GraphOpening(backends, settings)
  const blobs = await opening.service('blobs', graph.blobs)
  const directories = await opening.service('directories', graph.directories)
  const askSizeFormula = await opening.sizeFormula(graph.directories)
  const pathInfos = await opening.service('pathInfos', graph.pathInfos)
  const narCalculation = opening.narCalculations.get(graph.pathInfos)
  const { queues } = opening
  if (!settings.isForReading) await Promise.all(queues.map((queue) => queue.open()))
  const openLocalFile = opening.localFiles.get(graph.blobs)
  const localChunks = opening.localChunks.get(graph.blobs)
  const localDirectory = opening.localDirectories.get(graph.directories)
  const localPathInfo = opening.localPathInfos.get(graph.pathInfos)
  const opened = backends.keep()
  const { metrics } = settings
  return {
    blobs: measuredBlobService(blobs, 'verified', metrics),
    directories: measuredDirectoryService(directories, 'verified', metrics),
    pathInfos: measuredPathInfoService(pathInfos, 'verified', metrics),
    ...(narCalculation && { narCalculation }),
    ...(askSizeFormula && { askSizeFormula }),
    ...(openLocalFile && { openLocalFile }),
    ...(localChunks && { localChunks }),
    ...(localDirectory && { localDirectory }),
    ...(localPathInfo && { localPathInfo }),
    ...(queues.length > 0 && { uploads: uploadsOf(queues) }),
    sources: () => opening.sourceStats(),
    describe: graph.describe,
    labels: {
      blobs: graph.blobs.label,
      directories: graph.directories.label,
      pathInfos: graph.pathInfos.label,
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

function uploadsOf(queues: readonly WriteQueue[]): Uploads {
  return {
    get waiting() {
      return queues.reduce((sum, { length }) => sum + length, 0)
    },
    get refused() {
      return queues.reduce((sum, { refused }) => sum + refused, 0)
    },
    get refusal() {
      return queues.find(({ refusal }) => refusal)?.refusal
    },
    async drained(call) {
      for (const queue of queues) await queue.drained(call)
    },
  }
}

/**
 * The one place where services are verified. Verifying stands directly on every backend, below all layers: whatever
 * a disk or a peer hands out is compared with the digest that was asked for before a cache keeps it or a reader sees
 * it. Local backends too: disks rot, and buckets are written by others. It stands once more on every layer over
 * several sources, since a blob or closure of theirs may be put together from parts.
 *
 * Path infos have no digest to be compared with; there it makes sure that the answer fits the question.
 */
const VERIFYING: { readonly [R in Role]: (base: ServiceOf[R], source: string) => ServiceOf[R] } = {
  blobs: verifyingBlobService,
  directories: verifyingDirectoryService,
  pathInfos: verifyingPathInfoService,
}

/** Under verifying: what is counted is what a backend or layer said, not what was made of it. */
const MEASURED: {
  readonly [R in Role]: (base: ServiceOf[R], layer: LayerName, metrics?: LayerMetrics) => ServiceOf[R]
} = {
  blobs: measuredBlobService,
  directories: measuredDirectoryService,
  pathInfos: measuredPathInfoService,
}

class GraphOpening {
  /** Of the peers that path infos come from. */
  readonly narCalculations = new Map<GraphNode, NarCalculation>()
  /** Of blob caches and stores of raw files. */
  readonly localFiles = new Map<GraphNode, OpenLocalFile>()
  /** Of the blobs of this machine. */
  readonly localChunks = new Map<GraphNode, LocalChunkSource>()
  /** Of the databases of this machine. */
  readonly localDirectories = new Map<GraphNode, ReadLocalDirectory>()
  readonly localPathInfos = new Map<GraphNode, ReadLocalPathInfo>()
  readonly #backends: Backends
  readonly #settings: StoreSettings
  readonly #queues = new Map<string, LazyWriteQueue>()
  readonly #opened = new Map<GraphNode, Promise<unknown>>()
  readonly #sets: SourceSet<unknown>[] = []

  constructor(backends: Backends, settings: StoreSettings) {
    this.#backends = backends
    this.#settings = settings
  }

  /** Of all layers together. */
  sourceStats(): SourceStats {
    const failures: Record<string, number> = {}
    let hedges = 0
    for (const { stats } of this.#sets) {
      hedges += stats.hedges
      for (const [name, count] of Object.entries(stats.failures))
        failures[name] = (failures[name] ?? 0) + count
    }
    return { failures, hedges }
  }

  /** Of the layers that write behind. */
  get queues(): readonly LazyWriteQueue[] {
    return [...this.#queues.values()]
  }

  service<R extends Role>(role: R, node: GraphNode): Promise<ServiceOf[R]> {
    const opened = this.#opened.get(node) as Promise<ServiceOf[R]> | undefined
    if (opened) return opened
    const opening = this.#open(role, node).catch((error: unknown) => {
      throw withContext(node.label, error)
    })
    this.#opened.set(node, opening)
    return opening
  }

  /** What sizes the peer takes to which directories are written in the end, if it is one. */
  async sizeFormula(node: GraphNode): Promise<Stores['askSizeFormula']> {
    if (node.address) return await this.#backends.sizeFormula(node.address)
    const { writesTo } = KINDS[node.kind] as LayerKind
    const [target] = (writesTo && node.references.get(writesTo)) || []
    return target && (await this.sizeFormula(target))
  }

  async #open<R extends Role>(role: R, node: GraphNode): Promise<ServiceOf[R]> {
    const service = node.address ? await this.#backend(role, node) : await this.#layer(role, node)
    const layer = node.address ? 'backend' : node.kind
    return VERIFYING[role](MEASURED[role](service, layer, this.#settings.metrics), node.label)
  }

  async #backend<R extends Role>(role: R, node: GraphNode): Promise<ServiceOf[R]> {
    const address = node.address!
    const open: { readonly [E in Role]: () => Promise<ServiceOf[E]> } = {
      blobs: async () => {
        const blobs = await this.#backends.blobs(address, averageChunkBytes(node))
        if ('openLocalFile' in blobs)
          this.localFiles.set(node, (digest, call) => blobs.openLocalFile(digest, call))
        if (blobs.localChunks) this.localChunks.set(node, blobs.localChunks)
        return blobs
      },
      directories: async () => {
        const directories = await this.#backends.directories(address)
        if ('readNow' in directories) this.localDirectories.set(node, (digest) => directories.readNow(digest))
        return directories
      },
      pathInfos: async () => {
        const around = { ...this.#settings, ...(await this.#surroundings(node)) }
        const { pathInfos, narCalculation } = await this.#backends.pathInfos(address, around)
        if ('readNow' in pathInfos)
          this.localPathInfos.set(node, (outputHash) => pathInfos.readNow(outputHash))
        if (narCalculation) this.narCalculations.set(node, narCalculation)
        return pathInfos
      },
    }
    return await open[role]()
  }

  /** Where the contents go that a service of path infos fetches; the others have no need of it. */
  async #surroundings(node: GraphNode) {
    const [blobs] = node.references.get('blob_service') ?? []
    const [directories] = node.references.get('directory_service') ?? []
    if (!blobs || !directories) return { castore: undefined, askSizeFormula: undefined }
    const castore = {
      blobs: await this.service('blobs', blobs),
      directories: await this.service('directories', directories),
    }
    return { castore, askSizeFormula: await this.sizeFormula(directories) }
  }

  async #layer<R extends Role>(role: R, node: GraphNode): Promise<ServiceOf[R]> {
    const sources = new Map<string, readonly Source<ServiceOf[R]>[]>()
    const { fields, ...layers } = KINDS[node.kind] as LayerKind
    // What leads to another section is for `surroundings`.
    for (const [field, targets] of node.references)
      if (!fields[field]?.to)
        sources.set(
          field,
          await Promise.all(
            targets.map(async (target) => ({
              name: target.label,
              service: await this.service(role, target),
            })),
          ),
        )
    const build: Layers[R] = (layers as Layers)[role]
    return await build!(this.#parts(node, sources))
  }

  #parts<S>(node: GraphNode, sources: ReadonlyMap<string, readonly Source<S>[]>): Parts<S> {
    const logger = this.#settings.logger ?? silentLogger
    const value = (field: string) => node.fields.get(field)?.value
    const timeout = value('timeout') as number | undefined
    const metrics = this.#settings.metrics?.sources(node.label)
    const options = { logger, metrics, ...(timeout !== undefined && { timeoutMs: timeout * 1000 }) }
    return {
      source: (field) => sources.get(field)![0]!,
      sources: (field) => sources.get(field)!,
      set: (all) => {
        const set = new SourceSet(all, options)
        this.#sets.push(set)
        return set
      },
      text: (field) => value(field) as string,
      texts: (field) => value(field) as readonly string[],
      proveContentAddress: async (pathInfo, call) => {
        const { castore } = await this.#surroundings(node)
        const { nars } = this.#settings
        if (!castore || !nars)
          throw new StoreError('unimplemented', 'content addresses cannot be proven here')
        await nars.proveContentAddress(castore, pathInfo, call)
      },
      count: (field) => value(field) as number | undefined,
      queue: () => this.#queue(value('queue') as string, logger),
      use: (opened) => this.#backends.use(opened),
      offerLocalFiles: (open) => void this.localFiles.set(node, open),
      name: node.label,
      logger,
    }
  }

  #queue(path: string, logger: Logger): WriteQueue {
    const known = this.#queues.get(path)
    if (known) return known
    const queue = this.#backends.use(new LazyWriteQueue(() => openWriteQueue(path, logger)))
    this.#queues.set(path, queue)
    return queue
  }
}

function averageChunkBytes(node: GraphNode): number | undefined {
  return node.fields.get('avg_chunk_size')?.value as number | undefined
}
