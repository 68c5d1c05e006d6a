import { type Command, InvalidArgumentError, Option } from 'commander'
import { SigningKey } from '../model/nix/signing-key.ts'
import { createBridge } from '../servers/http/bridge.ts'
import { createPages } from '../servers/http/pages/pages.ts'
import { createHttpServer } from '../servers/http/server.ts'
import { CLIENT_ADDRESSES, narIndexAddress } from '../services/composition/default-addresses.ts'
import { LayerMetrics } from '../services/composition/layer-metrics.ts'
import type { NarIndex } from '../services/nar-index/interface.ts'
import { memoryNarIndex } from '../services/nar-index/memory.ts'
import { openNarIndex } from '../services/nar-index/open.ts'
import type { IngestNar } from '../services/pathinfos/interface.ts'
import { signingPathInfoService } from '../services/pathinfos/signing.ts'
import { StoreError, withContext } from '../support/errors.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import type { Logger } from '../support/log.ts'
import { readSettingsFile } from '../support/settings-file.ts'
import { ingestNar } from '../transfer/ingest-nar.ts'
import { addListenOptions, type ListenOptions, listenSettings, serverSecurity } from './listen-options.ts'
import { loggerOf } from './logging.ts'
import { addReadinessOptions, type ReadinessOptions, runInBackground } from './readiness.ts'
import { serveUntilStopped } from './serve.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'

interface BridgeOptions extends StoreOptions, ListenOptions, ReadinessOptions {
  readonly priority: number
  readonly signingKeyFile?: readonly string[]
  readonly narIndex?: string
  readonly anonymousRead?: boolean
  readonly metrics?: string
}

/** Nix asks cache.nixos.org with 40. */
const PRIORITY = 39

const HELP = `
Example:
  $ tvix-store nar-bridge -l '[::]:9000' --signing-key-file /etc/nix/cache.key
  $ nix copy --to http://localhost:9000 /nix/store/…-hello
  $ nix-store --realise /nix/store/…-hello --option substituters http://localhost:9000

Who may upload:
  Everybody who reaches it, unless --token-file is given, or the listener is read-only (-l '[::]:9000?role=read-only').
  Nix sends a token as the password of a netrc file: machine cache.example login nix password <token>`

export function addNarBridgeCommand(program: Command): void {
  const command = program
    .command('nar-bridge')
    .description('Serve the store as a binary cache over HTTP, for stock Nix to pull from and push to.')
    .addOption(
      new Option('--priority <number>', 'of this cache among others; lower ones are asked first')
        .env('PRIORITY')
        .argParser(parsePriority)
        .default(PRIORITY),
    )
    .option(
      '--signing-key-file <file...>',
      'secret keys (name:base64) with which uploaded paths are signed once their NAR hash was checked',
    )
    .option(
      '--nar-index <address>',
      `where it is kept which NARs were uploaded: lmdb:///path or memory: (default: ${narIndexAddress()})`,
    )
    // Of a cache that there is not: a root is part of the URL. Scripts pass it.
    .addOption(new Option('--root-nodes-cache-capacity <n>').env('ROOT_NODES_CACHE_CAPACITY').hideHelp())
    .option('--anonymous-read', 'with --token-file: only uploads and listings need a token')
    .option('--metrics <address>', 'serve Prometheus metrics there, at /metrics, to whoever asks')
    .addHelpText('after', HELP)
    .action(runNarBridge)
  addListenOptions(command, '[::]:9000')
  addReadinessOptions(command)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runNarBridge(options: BridgeOptions, command: Command): Promise<void> {
  if (options.daemonize) await runInBackground(options)
  const logger = loggerOf(command)
  const settings = listenSettings(options, logger)
  const security = serverSecurity(options)
  const keys = (options.signingKeyFile ?? []).map(readSigningKey)
  const layerMetrics = options.metrics ? new LayerMetrics() : undefined
  await using stores = await openCommandStores(command, storeAddresses(options), layerMetrics)
  await using narIndex = await openIndex(options.narIndex, logger)
  const sizeFormula = await stores.askSizeFormula?.()
  const ingest: IngestNar = (nar, more) => ingestNar(stores, nar, { sizeFormula, ...more })
  const pathInfos = keys.length > 0 ? signingPathInfoService(stores.pathInfos, keys) : stores.pathInfos
  const { blobs, directories } = stores
  const publicKeys = keys.map((key) => key.verifyingKey.toString())
  const pages = createPages({ blobs, directories, pathInfos, logger, publicKeys })
  const bridge = createBridge({
    blobs,
    directories,
    pathInfos,
    narIndex,
    ingestNar: ingest,
    logger,
    priority: options.priority,
    pages,
  })
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const { anonymousRead = false } = options
  const server = createHttpServer({ handler: bridge.handle, logger, anonymousRead, ...security })
  let resumed: Promise<void> | undefined
  const onListening = () => {
    resumed = bridge.resume({ signal: stop.signal }).catch((error: unknown) => {
      if (!stop.signal.aborted)
        logger.warn({ err: StoreError.from(error) }, 'cannot look for unfinished uploads')
    })
  }
  const { uploads } = stores
  const serving = { name: 'nar-bridge', settings, layerMetrics, uploads, stop, logger, onListening }
  await serveUntilStopped(server, options, serving)
  await resumed
  pages.close()
}

/** Where nobody said so and no file can be had, uploads still work: they just have to be finished in one go. */
async function openIndex(address: string | undefined, logger: Logger): Promise<NarIndex> {
  if (address !== undefined) return await openNarIndex(address)
  const preset = narIndexAddress()
  try {
    return await openNarIndex(preset)
  } catch (error) {
    const { message } = StoreError.from(error)
    logger.warn({ reason: message }, 'uploads are remembered until this process ends only: give --nar-index')
    return memoryNarIndex()
  }
}

function readSigningKey(path: string): SigningKey {
  const text = readSettingsFile(path).toString('utf8').trim()
  try {
    return SigningKey.parse(text)
  } catch (error) {
    throw withContext(path, error)
  }
}

function parsePriority(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('it is a number from 0 to 999999999.')
  return Number(text)
}
