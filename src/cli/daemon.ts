import type { Command } from 'commander'
import { createGrpcServer } from '../servers/grpc/server.ts'
import { startMetricsServer } from '../servers/metrics/server.ts'
import { daemonAddresses } from '../services/composition/default-addresses.ts'
import { openStores } from '../services/composition/open-stores.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { SHUTDOWN_MS_MAX } from '../support/limits.ts'
import { localNarCalculation } from '../transfer/nar-calculation.ts'
import { loggerOf } from './logging.ts'
import { addStoreOptions, type StoreOptions, storeAddresses } from './store-options.ts'

interface DaemonOptions extends StoreOptions {
  readonly listenAddress: readonly string[]
  readonly metrics?: string
}

const DEFAULT_LISTEN_ADDRESS = '[::]:8000'

export function addDaemonCommand(program: Command): void {
  const command = program
    .command('daemon')
    .description('Serve blobs, directories and path infos over gRPC.')
    .option(
      '-l, --listen-address <address...>',
      'host:port, or the path of a unix socket; several may be given',
      [DEFAULT_LISTEN_ADDRESS],
    )
    .option('--metrics <address>', 'serve Prometheus metrics there, at /metrics, to whoever asks')
    .addHelpText('after', '\nExample:\n  $ tvix-store daemon -l [::]:8000 /run/tvix-store.socket')
    .action(runDaemon)
  addStoreOptions(command, daemonAddresses())
}

async function runDaemon(options: DaemonOptions, command: Command): Promise<void> {
  const logger = loggerOf(command)
  await using stores = await openStores(storeAddresses(options))
  const narCalculation = stores.narCalculation ?? localNarCalculation(stores)
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const server = createGrpcServer({ ...stores, narCalculation, logger })
  for (const address of options.listenAddress) {
    const bound = await server.listen(address)
    logger.info({ listen_address: bound }, 'starting daemon')
  }
  const metrics = options.metrics && (await startMetricsServer(options.metrics, server.metrics))
  if (metrics) logger.info({ metrics_address: metrics.address }, 'serving metrics')
  const signal = await stop.requested
  logger.info({ signal }, 'finishing what was begun, then stopping')
  await server.shutdown(SHUTDOWN_MS_MAX)
  if (metrics) metrics.close()
}
