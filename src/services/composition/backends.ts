import { StoreError } from '../../support/errors.ts'
import type { BigtableAddress } from '../bigtable-address.ts'
import { type BigtableTable, openBigtableTable } from '../bigtable-table.ts'
import { grpcBlobService } from '../blobs/grpc.ts'
import type { BlobService } from '../blobs/interface.ts'
import { LocalChunks } from '../blobs/local-chunks.ts'
import { memoryBlobService } from '../blobs/memory.ts'
import { objectStoreBlobService } from '../blobs/object-store.ts'
import { bigtableDirectoryService } from '../directories/bigtable.ts'
import { grpcDirectoryService } from '../directories/grpc.ts'
import { askSizeFormula } from '../directories/grpc-size-formula.ts'
import type { DirectoryService } from '../directories/interface.ts'
import { openLmdbDirectoryService } from '../directories/lmdb.ts'
import { memoryDirectoryService } from '../directories/memory.ts'
import { objectStoreDirectoryService } from '../directories/object-store.ts'
import type { GrpcAddress } from '../grpc-address.ts'
import { type GrpcChannel, openGrpcChannel } from '../grpc-channel.ts'
import { openFileObjectStore } from '../objects/file.ts'
import type { ObjectStore } from '../objects/interface.ts'
import { memoryObjectStore } from '../objects/memory.ts'
import { openBucket } from '../objects/open.ts'
import { bigtablePathInfoService } from '../pathinfos/bigtable.ts'
import { grpcPathInfoService } from '../pathinfos/grpc.ts'
import type { NarCalculation, PathInfoService } from '../pathinfos/interface.ts'
import { openLmdbPathInfoService } from '../pathinfos/lmdb.ts'
import { memoryPathInfoService } from '../pathinfos/memory.ts'
import type { StoreAddress, SubstitutingAddress } from './address.ts'
import { openSubstituter } from './open-substituter.ts'
import type { Castore, StoreSettings, Stores } from './stores.ts'

/** What a service of path infos that fetches contents needs besides its address. */
export interface Surroundings extends StoreSettings {
  readonly castore: Castore | undefined
  readonly askSizeFormula: Stores['askSizeFormula']
}

export interface OpenPathInfos {
  readonly pathInfos: PathInfoService
  readonly narCalculation?: NarCalculation
}

/** Opens bare backends, each by its address, and remembers what is to be closed. */
export class Backends implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack()
  readonly #channels = new Map<string, GrpcChannel>()

  /** `averageChunkBytes`: for backends that divide blobs; the default if `undefined`. */
  async blobs(address: StoreAddress, averageChunkBytes?: number): Promise<BlobService> {
    if (address.kind === 'memory') return memoryBlobService()
    if (address.kind === 'grpc') return grpcBlobService(await this.#channel(address.grpc))
    const local = address.kind === 'object-file' ? LocalChunks.at(address.path) : undefined
    return objectStoreBlobService(await this.#objects(address), averageChunkBytes, local)
  }

  async directories(address: StoreAddress): Promise<DirectoryService> {
    if (address.kind === 'memory') return memoryDirectoryService()
    if (address.kind === 'grpc') return grpcDirectoryService(await this.#channel(address.grpc))
    if (address.kind === 'lmdb') return this.#opened.use(await openLmdbDirectoryService(address.path))
    if (address.kind === 'bigtable') return bigtableDirectoryService(await this.#table(address.bigtable))
    return objectStoreDirectoryService(await this.#objects(address))
  }

  async sizeFormula(address: StoreAddress): Promise<Stores['askSizeFormula']> {
    if (address.kind !== 'grpc') return undefined
    const channel = await this.#channel(address.grpc)
    return (call) => askSizeFormula(channel, call)
  }

  async pathInfos(address: StoreAddress, around: Surroundings): Promise<OpenPathInfos> {
    if (address.kind === 'substituting') return await this.#substituting(address, around)
    if (address.kind === 'grpc') {
      const remote = grpcPathInfoService(await this.#channel(address.grpc))
      return { pathInfos: remote, narCalculation: remote }
    }
    if (address.kind === 'lmdb')
      return { pathInfos: this.#opened.use(await openLmdbPathInfoService(address.path)) }
    if (address.kind === 'bigtable')
      return { pathInfos: bigtablePathInfoService(await this.#table(address.bigtable)) }
    return { pathInfos: memoryPathInfoService() }
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
    if (address.kind === 'bucket') return this.#opened.use(await openBucket(address.bucket))
    return address.kind === 'object-file' ? openFileObjectStore(address.path) : memoryObjectStore()
  }

  async #table(address: BigtableAddress): Promise<BigtableTable> {
    return this.#opened.use(await openBigtableTable(address))
  }

  async #substituting(address: SubstitutingAddress, around: Surroundings): Promise<OpenPathInfos> {
    const { nars, castore } = around
    if (!nars || !castore) throw new StoreError('unimplemented', 'binary caches cannot be used here')
    const near = address.near && (await this.pathInfos(address.near, around))
    const settings = { ...around, nars, castore, near: near?.pathInfos, opened: this.#opened }
    return { ...near, pathInfos: openSubstituter(address, settings) }
  }

  /** Services at one address share a connection. */
  async #channel({ text }: GrpcAddress): Promise<GrpcChannel> {
    const open = this.#channels.get(text)
    if (open) return open
    const channel = await openGrpcChannel(text)
    this.#opened.defer(() => channel.close())
    this.#channels.set(text, channel)
    return channel
  }
}
