import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { PathInfo } from '../model/nix/path-info.ts'
import type { LocalChunkSource } from '../services/blobs/chunk-places.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import { LayerMetrics } from '../services/composition/layer-metrics.ts'
import type { StoreAddresses } from '../services/composition/open-stores.ts'
import { openReloadableStores, type ReloadableStores } from '../services/composition/reloadable-stores.ts'
import { closureRootNodes } from '../services/pathinfos/closure-root-nodes.ts'
import { pathInfoRootNodes, type RootNodes } from '../services/pathinfos/root-nodes.ts'
import { StoreError } from '../support/errors.ts'
import { DISK_CACHE_BYTES } from '../support/limits.ts'
import type { Logger } from '../support/log.ts'
import { requirePath } from '../transfer/open-path.ts'
import { walkClosure } from '../transfer/walk-closure.ts'
import type { StatsFormat } from './mount-stats.ts'
import { addSignatureOptions, requiredSignatures, type SignatureOptions } from './signature-options.ts'
import { addStoreOptions, openStoresToRead, type StoreOptions, storeAddresses } from './store-options.ts'
import { parseStorePath } from './store-path-argument.ts'

/** What commands take that show something of a store as a filesystem. */
export interface ViewOptions {
  readonly showXattr: boolean
  readonly uidGid: { readonly uid: number; readonly gid: number }
  readonly stats: StatsFormat | undefined
  readonly metrics?: string
  readonly cacheDir?: string
  readonly cacheSize?: number
}

/** … that show store paths. */
export interface TreeOptions extends ViewOptions, StoreOptions, SignatureOptions {
  readonly listRoot: boolean
  readonly closureOf?: readonly string[]
}

export function addTreeOptions(command: Command): void {
  command
    .option('-l, --list-root', 'let the mount point be listed', false)
    .option(
      '--closure-of <path...>',
      'show just these store paths and what they refer to (put -- or another option behind them)',
    )
  addViewOptions(command)
  addSignatureOptions(command)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

export function addViewOptions(command: Command): void {
  command
    .option('--show-xattr', 'show digests as extended attributes (the default)', true)
    .option('--no-show-xattr', 'do not')
    .addOption(
      new Option('--uid-gid <uid:gid>', 'owner of everything')
        .default({ uid: 0, gid: 0 }, '0:0')
        .argParser(parseUidGid),
    )
    .addOption(
      new Option(
        '--stats [format]',
        'at the end, tell what was asked for, fetched and cached (also on SIGUSR1)',
      )
        .choices(STATS_FORMATS)
        .preset('text')
        .argParser(parseStatsFormat),
    )
    .option('--metrics <address>', 'serve Prometheus metrics there, at /metrics, to whoever asks')
    .addOption(
      new Option('--cache-dir <folder>', 'keep what is read there, for this and other mounts').env(
        'TVIX_STORE_CACHE_DIR',
      ),
    )
    .addOption(
      new Option('--cache-size <bytes>', 'what the folder may take, such as 500M or 2T')
        .env('TVIX_STORE_CACHE_SIZE')
        .default(DISK_CACHE_BYTES, '10G')
        .argParser(parseBytes),
    )
}

/** The store behind a tree, and what serves metrics of it if that was asked for. */
export interface TreeStores extends AsyncDisposable {
  readonly stores: ReloadableStores
  readonly rootNodes: RootNodes
  readonly addresses: StoreAddresses
  /** Of a composition file nobody knows whether its next reading leads to the same folder. */
  readonly localChunks: LocalChunkSource | undefined
}

export async function openTreeStores(
  command: Command,
  options: TreeOptions,
  logger: Logger,
): Promise<TreeStores> {
  const addresses = { ...storeAddresses(options), requiredSignatures: requiredSignatures(options) }
  return await openView(command, addresses, options, logger, async (stores) =>
    options.closureOf
      ? await closureOf(stores, options.closureOf)
      : pathInfoRootNodes(stores.pathInfos, stores.localPathInfo),
  )
}

/** `rootOf`: what is at the root of the stores that were opened. */
export async function openView(
  command: Command,
  stored: StoreAddresses,
  options: ViewOptions,
  logger: Logger,
  rootOf: (stores: ReloadableStores) => Promise<RootNodes>,
): Promise<TreeStores> {
  if (options.cacheDir === undefined && command.getOptionValueSource('cacheSize') === 'cli')
    throw new StoreError('invalid-argument', '--cache-size goes with --cache-dir')
  const layerMetrics = options.metrics ? new LayerMetrics() : undefined
  const addresses = { ...stored, cache: cacheOf(options) }
  await using closing = new AsyncDisposableStack()
  const stores = closing.use(
    await openReloadableStores(() => openStoresToRead(command, addresses, layerMetrics)),
  )
  const rootNodes = await rootOf(stores)
  if (options.metrics) {
    const { startMetricsServer } = await import('../servers/metrics/server.ts')
    const metrics = await startMetricsServer(options.metrics, layerMetrics?.all ?? [])
    closing.defer(() => metrics.close())
    logger.info({ metrics_address: metrics.address }, 'serving metrics')
  }
  const opened = closing.move()
  const localChunks = addresses.composition === undefined ? stores.localChunks : undefined
  return { stores, rootNodes, addresses, localChunks, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/** The folder as a full path: a mount may change where the process is. */
function cacheOf({ cacheDir, cacheSize }: ViewOptions) {
  return cacheDir === undefined ? undefined : { path: resolve(cacheDir), size: cacheSize }
}

const STATS_FORMATS = ['text', 'json'] as const

/** `--stats /mnt` takes the mount point for a format, which the message of commander would not tell. */
function parseStatsFormat(text: string): StatsFormat {
  const format = STATS_FORMATS.find((known) => known === text)
  if (format) return format
  throw new InvalidArgumentError(
    'It is text or json, or nothing: then write --stats behind the other arguments.',
  )
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** `500M`, `10 GiB` or a number of bytes; the units are powers of 1024. */
function parseBytes(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,15})\s*([KMGT]?)(?:i?B)?$/i.exec(text) ?? []
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? 1)
  if (!Number.isSafeInteger(bytes) || bytes < 1)
    throw new InvalidArgumentError('it is a number above 0 with K, M, G or T behind it.')
  return bytes
}

/** Throws `not-found`, naming who refers to it, for a path that is not there. */
async function closureOf(stores: ReloadableStores, roots: readonly string[]): Promise<RootNodes> {
  const closure: PathInfo[] = []
  const found = walkClosure(
    (path, call, referrer) => requirePath(stores, path, call, referrer),
    roots.map(parseStorePath),
  )
  for await (const pathInfo of found) closure.push(pathInfo)
  return closureRootNodes(closure)
}

/** `<uid>:<gid>`, with the messages of spec §4.5. */
function parseUidGid(text: string): { uid: number; gid: number } {
  const [, ...parts] = /^(.*?):(.*)$/s.exec(text) ?? []
  if (parts.length === 0) throw new InvalidArgumentError('no delimiter found: it is <uid>:<gid>.')
  const [uid, gid] = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN))
  if (!isId(uid)) throw new InvalidArgumentError('invalid lhs: a user id is a number below 2^32.')
  if (!isId(gid)) throw new InvalidArgumentError('invalid rhs: a group id is a number below 2^32.')
  return { uid, gid }
}

function isId(id: number | undefined): id is number {
  return id !== undefined && id < 2 ** 32
}
