import { type Command, InvalidArgumentError, Option } from 'commander'
import { pathComponentFault } from '../../model/castore/path-component.ts'
import { createDirectorySite } from '../../servers/http/directory-site.ts'
import { createHttpServer } from '../../servers/http/server.ts'
import { CLIENT_ADDRESSES } from '../../services/composition/default-addresses.ts'
import { LayerMetrics } from '../../services/composition/layer-metrics.ts'
import { utf8 } from '../../support/bytes.ts'
import { onStopSignal } from '../../support/lifecycle.ts'
import { parseDigest } from '../digest-argument.ts'
import { addListenOptions, type ListenOptions, listenSettings, serverSecurity } from '../listen-options.ts'
import { loggerOf } from '../logging.ts'
import { addReadinessOptions, type ReadinessOptions, runInBackground } from '../readiness.ts'
import { serveUntilStopped } from '../serve.ts'
import {
  addCastoreOptions,
  type CastoreOptions,
  castoreAddresses,
  openStoresToRead,
} from '../store-options.ts'
import { requireDirectory } from './directory-view.ts'

interface HttpOptions extends CastoreOptions, ListenOptions, ReadinessOptions {
  readonly rootDirectory: string
  readonly indexNames: readonly Uint8Array[]
  readonly autoIndex?: boolean
  readonly metrics?: string
}

const HELP = `
Example:
  $ tvix-store castore http -r "$(tvix-store castore ingest ./site)" --index-names index.html -l '[::]:9000'`

export function addCastoreHttpCommand(castore: Command): void {
  const command = castore
    .command('http')
    .description('Serve one directory, and what is below it, as a web site.')
    .requiredOption('-r, --root-directory <digest>', 'the directory, as `castore ingest` prints it')
    .addOption(
      new Option('--index-names <names>', 'files that stand for their directory, with commas between')
        .argParser(parseNames)
        .default([], 'none'),
    )
    .option('-a, --auto-index', 'list directories that have none of these')
    .option('--metrics <address>', 'serve Prometheus metrics there, at /metrics, to whoever asks')
    .addHelpText('after', HELP)
    .action((options: HttpOptions) => runHttp(options, command))
  addListenOptions(command, '[::]:9000')
  addReadinessOptions(command)
  addCastoreOptions(command, CLIENT_ADDRESSES)
}

async function runHttp(options: HttpOptions, command: Command): Promise<void> {
  const root = parseDigest(options.rootDirectory)
  if (options.daemonize) await runInBackground(options)
  const logger = loggerOf(command)
  const settings = listenSettings(options, logger)
  const security = serverSecurity(options)
  const layerMetrics = options.metrics ? new LayerMetrics() : undefined
  await using stores = await openStoresToRead(command, castoreAddresses(options), layerMetrics)
  await requireDirectory(stores, root)
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const { blobs, directories } = stores
  const { indexNames, autoIndex: isListed = false } = options
  const handler = createDirectorySite({ blobs, directories, root, indexNames, isListed })
  const server = createHttpServer({ handler, logger, isReadOnly: true, ...security })
  await serveUntilStopped(server, options, { name: 'castore http', settings, layerMetrics, stop, logger })
}

function parseNames(text: string): Uint8Array[] {
  const names = text.split(',').map(utf8)
  const fault = names.map((name) => pathComponentFault(name)).find((each) => each !== undefined)
  if (fault !== undefined) throw new InvalidArgumentError('it is names of files, with commas between.')
  return names
}
