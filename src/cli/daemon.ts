import type { Command } from 'commander'
import { createGrpcServer } from '../servers/grpc/server.ts'
import { daemonAddresses } from '../services/composition/default-addresses.ts'
import { LayerMetrics } from '../services/composition/layer-metrics.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { localNarCalculation } from '../transfer/nar-calculation.ts'
import { addListenOptions, type ListenOptions, listenSettings, serverSecurity } from './listen-options.ts'
import { loggerOf } from './logging.ts'
import { addReadinessOptions, type ReadinessOptions, runInBackground } from './readiness.ts'
import { serveUntilStopped } from './serve.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'

type DaemonOptions = StoreOptions & ListenOptions & ReadinessOptions & { readonly metrics?: string }

const HELP = `
Example:
  $ tvix-store daemon -l '[::]:8000?role=read-only' /run/tvix-store.socket`

export function addDaemonCommand(program: Command): void {
  const command = program
    .command('daemon')
    .description('Serve blobs, directories and path infos over gRPC.')
    .option('--metrics <address>', 'serve Prometheus metrics there, at /metrics, to whoever asks')
    .addHelpText('after', HELP)
    .action(runDaemon)
  addListenOptions(command)
  addReadinessOptions(command)
  addStoreOptions(command, daemonAddresses())
}

async function runDaemon(options: DaemonOptions, command: Command): Promise<void> {
  if (options.daemonize) await runInBackground()
  const logger = loggerOf(command)
  const settings = listenSettings(options, logger)
  const security = serverSecurity(options)
  const layerMetrics = options.metrics ? new LayerMetrics() : undefined
  await using stores = await openCommandStores(command, storeAddresses(options), layerMetrics)
  const narCalculation = stores.narCalculation ?? localNarCalculation(stores)
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const server = createGrpcServer({ ...stores, narCalculation, logger, ...security })
  const { uploads } = stores
  await serveUntilStopped(server, options, { name: 'daemon', settings, layerMetrics, uploads, stop, logger })
}
