import type { Command } from 'commander'
import { createGrpcServer } from '../servers/grpc/server.ts'
import { startMetricsServer } from '../servers/metrics/server.ts'
import { daemonAddresses } from '../services/composition/default-addresses.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { SHUTDOWN_MS_MAX } from '../support/limits.ts'
import { localNarCalculation } from '../transfer/nar-calculation.ts'
import { addListenOptions, type ListenOptions, listenSettings, serverSecurity } from './listen-options.ts'
import { loggerOf } from './logging.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'

type DaemonOptions = StoreOptions & ListenOptions & { readonly metrics?: string }

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
  addStoreOptions(command, daemonAddresses())
}

async function runDaemon(options: DaemonOptions, command: Command): Promise<void> {
  const logger = loggerOf(command)
  const settings = listenSettings(options, logger)
  const security = serverSecurity(options)
  await using stores = await openCommandStores(command, storeAddresses(options))
  const narCalculation = stores.narCalculation ?? localNarCalculation(stores)
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const server = createGrpcServer({ ...stores, narCalculation, logger, ...security })
  for (const address of options.listenAddress) {
    const bound = await server.listen(address, settings)
    logger.info({ listen_address: bound }, 'starting daemon')
  }
  const metrics = options.metrics && (await startMetricsServer(options.metrics, server.metrics))
  if (metrics) logger.info({ metrics_address: metrics.address }, 'serving metrics')
  const signal = await stop.requested
  logger.info({ signal }, 'finishing what was begun, then stopping')
  await server.shutdown(SHUTDOWN_MS_MAX)
  if (metrics) metrics.close()
}
