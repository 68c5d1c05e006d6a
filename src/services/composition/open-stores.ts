import type { SizeFormula } from '../../model/castore/directory.ts'
import type { Call } from '../../support/call.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import type { Logger } from '../../support/log.ts'
import type { BigtableAddress } from '../bigtable-address.ts'
import { type BigtableTable, openBigtableTable } from '../bigtable-table.ts'
import { grpcBlobService } from '../blobs/grpc.ts'
import type { BlobService } from '../blobs/interface.ts'
import { memoryBlobService } from '../blobs/memory.ts'
import { objectStoreBlobService } from '../blobs/object-store.ts'
import { verifyingBlobService } from '../blobs/verifying.ts'
import { bigtableDirectoryService } from '../directories/bigtable.ts'
import { grpcDirectoryService } from '../directories/grpc.ts'
import { askSizeFormula } from '../directories/grpc-size-formula.ts'
import type { DirectoryService } from '../directories/interface.ts'
import { openLmdbDirectoryService } from '../directories/lmdb.ts'
import { memoryDirectoryService } from '../directories/memory.ts'
import { objectStoreDirectoryService } from '../directories/object-store.ts'
import { verifyingDirectoryService } from '../directories/verifying.ts'
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
import { verifyingPathInfoService } from '../pathinfos/verifying.ts'
import {
  parseAddress,
  parsePathInfoAddress,
  type Role,
  type StoreAddress,
  type SubstitutingAddress,
  shownAddress,
} from './address.ts'
import type { Castore, NarTransfer } from './nar-transfer.ts'
import { openSubstituter } from './open-substituter.ts'

export interface StoreAddresses {
  readonly blobs: string
  readonly directories: string
  readonly pathInfos: string
}

/** The three services. Disposing of them closes files and connections; let calls end first. */
export interface Stores extends AsyncDisposable {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
  /** The peer's, when path infos come from one; otherwise NARs are rendered here. */
  readonly narCalculation?: NarCalculation
  /** What sizes of directories the peer takes, when directories go to one. */
  readonly askSizeFormula?: (call?: Call) => Promise<SizeFormula>
  /** The addresses, for messages. */
  readonly describe: string
}

/** What the services need that the rooms above them have. */
export interface StoreSettings {
  /** Needed for addresses of binary caches, whose NARs become blobs and directories of the other two addresses. */
  readonly nars?: NarTransfer
  /** Where services tell of what takes long, and of what they survive; says nothing unless given. */
  readonly logger?: Logger
}

/**
 * Opens what three addresses stand for. All of them are understood before any is opened. Throws as `parseAddress`
 * does, or with the address in front of what opening it said; what was opened by then is closed again.
 */
export async function openStores(addresses: StoreAddresses, settings: StoreSettings = {}): Promise<Stores> {
  const parsed = {
    blobs: parseAddress('blobs', addresses.blobs),
    directories: parseAddress('directories', addresses.directories),
    pathInfos: parsePathInfoAddress(addresses.pathInfos),
  }
  await using opening = new Opening()
  // Verifying stands directly on the backend, below anything that may come to be stacked here: whatever a disk
  // or a peer hands out is compared with the digest that was asked for before a cache keeps it or a reader
  // sees it. Local backends too: disks rot, and buckets are written by others.
  const castore = {
    blobs: verifyingBlobService(
      await named('blobs', addresses, () => opening.blobs(parsed.blobs)),
      addresses.blobs,
    ),
    directories: verifyingDirectoryService(
      await named('directories', addresses, () => opening.directories(parsed.directories)),
      addresses.directories,
    ),
  }
  const askSizeFormula = await opening.sizeFormula(parsed.directories)
  const remote = await named('pathInfos', addresses, () =>
    opening.pathInfos(parsed.pathInfos, { ...settings, castore, askSizeFormula }),
  )
  const opened = opening.keep()
  return {
    ...castore,
    // Path infos have no digest to be compared with; this makes sure that the answer fits the question.
    pathInfos: verifyingPathInfoService(remote.pathInfos, addresses.pathInfos),
    ...(remote.narCalculation && { narCalculation: remote.narCalculation }),
    ...(askSizeFormula && { askSizeFormula }),
    describe: describe(addresses),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** What a service of path infos that fetches contents needs besides its address. */
interface Surroundings extends StoreSettings {
  readonly castore: Castore
  readonly askSizeFormula: Stores['askSizeFormula']
}

interface OpenPathInfos {
  readonly pathInfos: PathInfoService
  readonly narCalculation?: NarCalculation
}

/** Opens bare backends and remembers what is to be closed. */
class Opening implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack()
  readonly #channels = new Map<string, GrpcChannel>()

  async blobs(address: StoreAddress): Promise<BlobService> {
    if (address.kind === 'memory') return memoryBlobService()
    if (address.kind === 'grpc') return grpcBlobService(await this.#channel(address.grpc))
    return objectStoreBlobService(await this.#objects(address))
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
    const { nars } = around
    if (!nars) throw new StoreError('unimplemented', 'binary caches cannot be used here')
    const near = address.near && (await this.pathInfos(address.near, around))
    const settings = { ...around, nars, near: near?.pathInfos, opened: this.#opened }
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

async function named<T>(role: Role, addresses: StoreAddresses, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    throw withContext(shownAddress(addresses[role]), error)
  }
}

function describe(addresses: StoreAddresses): string {
  const [blobs, directories, pathInfos] = [addresses.blobs, addresses.directories, addresses.pathInfos].map(
    shownAddress,
  )
  if (blobs === directories && blobs === pathInfos) return blobs!
  return `blobs at ${blobs}, directories at ${directories}, path infos at ${pathInfos}`
}
