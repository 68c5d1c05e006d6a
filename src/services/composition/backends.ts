import { StoreError } from '../../support/errors.ts'
import { silentLogger } from '../../support/log.ts'
import type { BigtableAddress } from '../bigtable-address.ts'
import type { BigtableTable } from '../bigtable-table.ts'
import type { FileBlobService } from '../blobs/file-blobs.ts'
import type { BlobService } from '../blobs/interface.ts'
import { LocalChunks } from '../blobs/local-chunks.ts'
import { memoryBlobService } from '../blobs/memory.ts'
import { CHUNKS_PREFIX } from '../blobs/object-keys.ts'
import { objectStoreBlobService } from '../blobs/object-store.ts'
import type { DirectoryService, LocalDirectoryService } from '../directories/interface.ts'
import { memoryDirectoryService } from '../directories/memory.ts'
import { objectStoreDirectoryService } from '../directories/object-store.ts'
import type { GrpcAddress } from '../grpc-address.ts'
import type { GrpcChannel } from '../grpc-channel.ts'
import { openFileObjectStore } from '../objects/file.ts'
import type { ObjectStore } from '../objects/interface.ts'
import { memoryObjectStore } from '../objects/memory.ts'
import type { LocalPathInfoService, NarCalculation, PathInfoService } from '../pathinfos/interface.ts'
import { memoryPathInfoService } from '../pathinfos/memory.ts'
import type { LeftOut } from '../pathinfos/stored.ts'
import type { StoreAddress, SubstitutingAddress } from './address.ts'
import type { Castore, StoreSettings, Stores } from './stores.ts'

/** What a service of path infos that fetches contents needs besides its address. */
export interface Surroundings extends StoreSettings {
  readonly castore: Castore | undefined
  readonly askSizeFormula: Stores['askSizeFormula']
}

export interface OpenPathInfos {
  readonly pathInfos: PathInfoService | LocalPathInfoService
  readonly narCalculation?: NarCalculation
}

/** Never silently: a line for each listing, and a count. */
function leftOutOf(source: string, { logger = silentLogger, metrics }: StoreSettings): LeftOut {
  return (count, first) => {
    metrics?.leftOut(source, count)
    logger.warn({ count, err: first }, 'a listing left out path infos that do not decode')
  }
}

/**
 * Opens bare backends, each by its address, and remembers what is to be closed. What they are made of is loaded when an
 * address asks for it: gRPC alone takes as long as everything else that a mount of local files needs.
 */
export class Backends implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack()
  readonly #channels = new Map<string, GrpcChannel>()

  /** `averageChunkBytes`: for backends that divide blobs; the default if `undefined`. */
  async blobs(address: StoreAddress, averageChunkBytes?: number): Promise<BlobService | FileBlobService> {
    if (address.kind === 'memory') return memoryBlobService()
    if (address.kind === 'files') {
      const { openFileBlobService } = await import('../blobs/file-blobs.ts')
      return await openFileBlobService(address.path)
    }
    if (address.kind === 'grpc') {
      const { grpcBlobService } = await import('../blobs/grpc.ts')
      return grpcBlobService(await this.#channel(address.grpc))
    }
    if (address.kind === 'packs') return await this.#packs(address.path, averageChunkBytes)
    const local = address.kind === 'object-file' ? LocalChunks.at(address.path) : undefined
    return objectStoreBlobService(await this.#objects(address), averageChunkBytes, local)
  }

  async directories(address: StoreAddress): Promise<DirectoryService | LocalDirectoryService> {
    switch (address.kind) {
      case 'memory':
        return memoryDirectoryService()
      case 'grpc': {
        const { grpcDirectoryService } = await import('../directories/grpc.ts')
        return grpcDirectoryService(await this.#channel(address.grpc))
      }
      case 'lmdb': {
        const { openLmdbDirectoryService } = await import('../directories/lmdb.ts')
        return this.#opened.use(await openLmdbDirectoryService(address.path))
      }
      case 'bigtable': {
        const { bigtableDirectoryService } = await import('../directories/bigtable.ts')
        return bigtableDirectoryService(await this.#table(address.bigtable))
      }
      default:
        return objectStoreDirectoryService(await this.#objects(address))
    }
  }

  async sizeFormula(address: StoreAddress): Promise<Stores['askSizeFormula']> {
    if (address.kind !== 'grpc') return undefined
    const { askSizeFormula } = await import('../directories/grpc-size-formula.ts')
    const channel = await this.#channel(address.grpc)
    return (call) => askSizeFormula(channel, call)
  }

  async pathInfos(address: StoreAddress, around: Surroundings): Promise<OpenPathInfos> {
    switch (address.kind) {
      case 'substituting':
        return await this.#substituting(address, around)
      case 'grpc': {
        const { grpcPathInfoService } = await import('../pathinfos/grpc.ts')
        const remote = grpcPathInfoService(await this.#channel(address.grpc))
        return { pathInfos: remote, narCalculation: remote }
      }
      case 'lmdb': {
        const { openLmdbPathInfoService } = await import('../pathinfos/lmdb.ts')
        const table = await openLmdbPathInfoService(address.path, leftOutOf(address.path, around))
        return { pathInfos: this.#opened.use(table) }
      }
      case 'bigtable': {
        const { bigtablePathInfoService } = await import('../pathinfos/bigtable.ts')
        const table = await this.#table(address.bigtable)
        return { pathInfos: bigtablePathInfoService(table, leftOutOf(address.bigtable.table, around)) }
      }
      default:
        return { pathInfos: memoryPathInfoService() }
    }
  }

  /** To be closed with the backends. */
  use<T extends AsyncDisposable>(opened: T): T {
    return this.#opened.use(opened)
  }

  /** Hands over what has been opened, to be closed by the new holder. */
  keep(): AsyncDisposableStack {
    return this.#opened.move()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync()
  }

  async #objects(address: StoreAddress): Promise<ObjectStore> {
    if (address.kind === 'bucket') {
      const { openBucket } = await import('../objects/open.ts')
      return this.#opened.use(await openBucket(address.bucket))
    }
    return address.kind === 'object-file' ? openFileObjectStore(address.path) : memoryObjectStore()
  }

  async #packs(path: string, averageChunkBytes: number | undefined): Promise<BlobService> {
    const { openPackedObjectStore } = await import('../objects/packs.ts')
    const objects = this.#opened.use(await openPackedObjectStore(path))
    const places = objects.placesBelow(CHUNKS_PREFIX)
    const local = LocalChunks.of({ kind: 'packs', folder: objects.packsFolder, places })
    return objectStoreBlobService(objects, averageChunkBytes, local)
  }

  async #table(address: BigtableAddress): Promise<BigtableTable> {
    const { openBigtableTable } = await import('../bigtable-table.ts')
    return this.#opened.use(await openBigtableTable(address))
  }

  async #substituting(address: SubstitutingAddress, around: Surroundings): Promise<OpenPathInfos> {
    const { nars, castore } = around
    if (!nars || !castore) throw new StoreError('unimplemented', 'binary caches cannot be used here')
    const near = address.near && (await this.pathInfos(address.near, around))
    const { openSubstituter } = await import('./open-substituter.ts')
    const settings = { ...around, nars, castore, near: near?.pathInfos, opened: this.#opened }
    return { ...near, pathInfos: openSubstituter(address, settings) }
  }

  /** Services at one address share a connection. */
  async #channel({ text }: GrpcAddress): Promise<GrpcChannel> {
    const open = this.#channels.get(text)
    if (open) return open
    const { openGrpcChannel } = await import('../grpc-channel.ts')
    const channel = await openGrpcChannel(text)
    this.#opened.defer(() => channel.close())
    this.#channels.set(text, channel)
    return channel
  }
}
