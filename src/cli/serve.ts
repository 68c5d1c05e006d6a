import type { ListenSettings } from '../servers/listen/listener.ts'
import { startMetricsServer } from '../servers/metrics/server.ts'
import type { LayerMetrics } from '../services/composition/layer-metrics.ts'
import type { Uploads } from '../services/composition/stores.ts'
import type { StopRequest } from '../support/lifecycle.ts'
import { SHUTDOWN_MS_MAX } from '../support/limits.ts'
import type { Logger } from '../support/log.ts'
import { Gauge, type Metric } from '../support/metrics.ts'
import { warnOfMemoryLimit } from './memory-limit.ts'
import { announceReady, announceStopping, type ReadinessOptions } from './readiness.ts'

/** What the servers of all protocols have in common. */
interface Server {
  readonly metrics: readonly Metric[]
  listen(address: string, settings: ListenSettings): Promise<string>
  shutdown(deadlineMs: number): Promise<void>
}

export interface Serving {
  /** The command, for the log. */
  readonly name: string
  readonly settings: ListenSettings
  readonly layerMetrics: LayerMetrics | undefined
  /** What is written behind, where something is. */
  readonly uploads?: Uploads | undefined
  readonly stop: StopRequest
  readonly logger: Logger
  /** Begun when the server listens. */
  readonly onListening?: () => void
}

interface ServeOptions extends ReadinessOptions {
  readonly listenAddress: readonly string[]
  readonly metrics?: string
}

/** Serves on all addresses until a signal asks to stop; what was begun by then is finished, within a deadline. */
export async function serveUntilStopped(
  server: Server,
  options: ServeOptions,
  { name, settings, layerMetrics, uploads, stop, logger, onListening }: Serving,
): Promise<void> {
  for (const address of options.listenAddress) {
    const bound = await server.listen(address, settings)
    logger.info({ listen_address: bound }, `starting ${name}`)
  }
  onListening?.()
  const metrics =
    options.metrics &&
    (await startMetricsServer(options.metrics, [
      ...server.metrics,
      ...(layerMetrics?.all ?? []),
      ...(uploads ? uploadMetrics(uploads) : []),
    ]))
  if (metrics) logger.info({ metrics_address: metrics.address }, 'serving metrics')
  announceReady(options, logger)
  warnOfMemoryLimit(logger)
  const signal = await stop.requested
  announceStopping(logger)
  logger.info({ signal }, 'finishing what was begun, then stopping')
  await server.shutdown(SHUTDOWN_MS_MAX)
  if (metrics) metrics.close()
}

function uploadMetrics(uploads: Uploads): readonly Metric[] {
  return [
    new Gauge('tvix_store_uploads_waiting', 'Objects to be sent to a far side.', () => uploads.waiting),
    new Gauge(
      'tvix_store_uploads_refused',
      'Objects that a far side refuses; somebody has to look at that.',
      () => uploads.refused,
    ),
  ]
}
