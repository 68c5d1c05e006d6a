import { type Command, Option } from 'commander'
import { openStores, type StoreAddresses, type Stores } from '../services/composition/open-stores.ts'
import { checkPathInfo } from '../transfer/check-path-info.ts'
import { copyCastore } from '../transfer/copy-castore.ts'
import { ingestNar } from '../transfer/ingest-nar.ts'
import { loggerOf } from './logging.ts'

/** The three address flags of spec §4.1, with the environment variables and defaults of upstream. */
export function addStoreOptions(command: Command, defaults: StoreAddresses): Command {
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
    .addOption(
      new Option('--path-info-service-addr <address>', 'where path infos are')
        .env('PATH_INFO_SERVICE_ADDR')
        .default(defaults.pathInfos),
    )
}

export interface StoreOptions {
  readonly blobServiceAddr: string
  readonly directoryServiceAddr: string
  readonly pathInfoServiceAddr: string
}

export function storeAddresses(options: StoreOptions): StoreAddresses {
  return {
    blobs: options.blobServiceAddr,
    directories: options.directoryServiceAddr,
    pathInfos: options.pathInfoServiceAddr,
  }
}

/** Opens stores for a command: the one way in which commands do. */
export function openCommandStores(command: Command, addresses: StoreAddresses): Promise<Stores> {
  return openStores(addresses, { nars: { ingestNar, checkPathInfo, copyCastore }, logger: loggerOf(command) })
}
