import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { createGrpcServer, type GrpcServerParts } from '../servers/grpc/server.ts'
import { LayerMetrics } from '../services/composition/layer-metrics.ts'
import type { StoreAddresses, Stores } from '../services/composition/open-stores.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import type { Logger } from '../support/log.ts'
import { localNarCalculation } from '../transfer/nar-calculation.ts'
import { addListenOptions, type ListenOptions, listenSettings, serverSecurity } from './listen-options.ts'
import { loggerOf } from './logging.ts'
import { addReadinessOptions, type ReadinessOptions, runInBackground } from './readiness.ts'
import { serveUntilStopped } from './serve.ts'
import {
  addStoreOptions,
  openCommandStores,
  ownDaemonAddresses,
  type StoreOptions,
  storeAddresses,
} from './store-options.ts'

export type ServerOptions = ListenOptions & ReadinessOptions & { readonly metrics?: string }

const HELP = `
Example:
  $ tvix-store daemon -l '[::]:8000?role=read-only' /run/tvix-store.socket`

export function addDaemonCommand(program: Command): void {
  const command = program
    .command('daemon')
    .description('Serve blobs, directories and path infos over gRPC.')
    .addHelpText('after', HELP)
    .action(runDaemon)
  addServerOptions(command)
  addStoreOptions(command, ownDaemonAddresses())
}

export function addServerOptions(command: Command): void {
  command.option('--metrics <address>', 'serve Prometheus metrics there, at /metrics, to whoever asks')
  addListenOptions(command)
  addReadinessOptions(command)
}

async function runDaemon(options: ServerOptions & StoreOptions, command: Command): Promise<void> {
  await serveGrpc(options, command, storeAddresses(options), (stores) => ({
    ...stores,
    narCalculation: stores.narCalculation ?? localNarCalculation(stores),
  }))
}

/** Serves what `select` takes of the stores at these addresses, until a signal asks to stop. */
export async function serveGrpc(
  options: ServerOptions,
  command: Command,
  addresses: StoreAddresses,
  select: (stores: Stores) => Pick<GrpcServerParts, 'blobs' | 'directories' | 'pathInfos' | 'narCalculation'>,
): Promise<void> {
  if (options.daemonize) await runInBackground(options)
  const logger = loggerOf(command)
  const settings = listenSettings(options, logger)
  const security = serverSecurity(options)
  const layerMetrics = options.metrics ? new LayerMetrics() : undefined
  warnOfRedb(addresses, logger)
  await using stores = await openCommandStores(command, addresses, layerMetrics)
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const server = createGrpcServer({ ...select(stores), logger, ...security })
  const { uploads } = stores
  await serveUntilStopped(server, options, { name: 'daemon', settings, layerMetrics, uploads, stop, logger })
}

/** Whoever comes from the Rust implementation would find an empty store, and nothing that says why. */
function warnOfRedb({ directories, pathInfos }: StoreAddresses, logger: Logger): void {
  for (const address of [directories, pathInfos]) {
    const redb = address.replace(/^lmdb:\/\/(.*)\.lmdb$/, '$1.redb')
    if (redb !== address && existsSync(redb))
      logger.warn(
        { database: redb },
        `a database of the Rust implementation, which is not read; ${address} is`,
      )
  }
}
