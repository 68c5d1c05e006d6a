import { type Command, Option } from 'commander'
import { daemonAddresses, snixDaemonAddresses } from '../services/composition/default-addresses.ts'
import type { Origin, Origins } from '../services/composition/graph.ts'
import type { LayerMetrics } from '../services/composition/layer-metrics.ts'
import {
  type NarTransfer,
  openStores,
  type StoreAddresses,
  type Stores,
} from '../services/composition/open-stores.ts'
import { callingOf } from './called-as.ts'
import { loggerOf } from './logging.ts'

/** The three address flags of spec §4.1, with the environment variables and defaults of upstream. */
export function addStoreOptions(command: Command, defaults: StoreAddresses): Command {
  return addCompositionOptions(
    addBlobAndDirectoryOptions(command, defaults).addOption(
      new Option(
        '--path-info-service-addr <address>',
        'where path infos are; binary caches (nix+https://…) may follow, with blanks between',
      )
        .env('PATH_INFO_SERVICE_ADDR')
        .default(defaults.pathInfos),
    ),
  )
}

/** … for commands that have no use for path infos. */
export function addCastoreOptions(command: Command, defaults: StoreAddresses): Command {
  addBlobAndDirectoryOptions(command, defaults)
  // Scripts may give all three to every command.
  command.addOption(new Option('--path-info-service-addr <address>').hideHelp())
  return addCompositionOptions(command)
}

function addBlobAndDirectoryOptions(command: Command, defaults: StoreAddresses): Command {
  return command
    .addOption(
      new Option('--blob-service-addr <address>', 'where blobs are')
        .env('BLOB_SERVICE_ADDR')
        .default(defaults.blobs),
    )
    .addOption(
      new Option('--directory-service-addr <address>', 'where directories are')
        .env('DIRECTORY_SERVICE_ADDR')
        .default(defaults.directories),
    )
}

function addCompositionOptions(command: Command): Command {
  return (
    command
      .addOption(
        new Option(
          '--store-composition <file>',
          'a TOML file that says how services are put together, in the place of the three addresses',
        ).env('STORE_COMPOSITION'),
      )
      // The name that scripts written for other implementations use.
      .addOption(
        new Option('--experimental-store-composition <file>')
          .env('EXPERIMENTAL_STORE_COMPOSITION')
          .conflicts('storeComposition')
          .hideHelp(),
      )
  )
}

export interface CastoreOptions {
  readonly blobServiceAddr: string
  readonly directoryServiceAddr: string
  readonly storeComposition?: string
  readonly experimentalStoreComposition?: string
}

export interface StoreOptions extends CastoreOptions {
  readonly pathInfoServiceAddr: string
}

export function storeAddresses(options: StoreOptions): StoreAddresses {
  return { ...castoreAddresses(options), pathInfos: options.pathInfoServiceAddr }
}

/** Nobody asks for path infos, so no database of them is created and no peer is asked for them. */
export function castoreAddresses(options: CastoreOptions): StoreAddresses {
  return {
    blobs: options.blobServiceAddr,
    directories: options.directoryServiceAddr,
    pathInfos: 'memory:',
    composition: options.storeComposition ?? options.experimentalStoreComposition,
  }
}

/** Whether each of them was given on the command line, in the environment, or not at all. */
export function storeOrigins(command: Command): Origins {
  const origin = (option: string): Origin => {
    const found = command.options.find((each) => each.attributeName() === option)
    const source = command.getOptionValueSource(option)
    if (source === 'cli') return { from: 'flag', name: found?.long ?? option }
    if (source === 'env') return { from: 'environment', name: found?.envVar ?? option }
    return { from: 'default' }
  }
  return {
    blobs: origin('blobServiceAddr'),
    directories: origin('directoryServiceAddr'),
    pathInfos: origin('pathInfoServiceAddr'),
  }
}

/** Of a daemon that was called by this name (spec §4.1, §4.5). */
export function ownDaemonAddresses(): StoreAddresses {
  return callingOf(process.argv).family === 'snix' ? snixDaemonAddresses() : daemonAddresses()
}

/** Opens stores for a command that writes to them. */
export function openCommandStores(
  command: Command,
  addresses: StoreAddresses,
  metrics?: LayerMetrics,
): Promise<Stores> {
  return openStores(addresses, { nars: NAR_TRANSFER, logger: loggerOf(command), metrics })
}

/** … and for one that only reads, as far as what is read need not be fetched first. */
export function openStoresToRead(
  command: Command,
  addresses: StoreAddresses,
  metrics?: LayerMetrics,
): Promise<Stores> {
  const logger = loggerOf(command)
  return openStores(addresses, { nars: NAR_TRANSFER, logger, metrics, isForReading: true })
}

/** Loaded when the first path is substituted. */
const NAR_TRANSFER: NarTransfer = {
  ingestNar: async (...args) => (await import('../transfer/ingest-nar.ts')).ingestNar(...args),
  checkPathInfo: async (...args) => (await import('../transfer/check-path-info.ts')).checkPathInfo(...args),
  proveContentAddress: async (...args) =>
    (await import('../transfer/check-path-info.ts')).proveContentAddress(...args),
  copyCastore: async (...args) => (await import('../transfer/copy-castore.ts')).copyCastore(...args),
}
