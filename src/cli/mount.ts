import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { PathInfo } from '../model/nix/path-info.ts'
import { MOUNT_DRIVERS, type Mount, type MountDriver } from '../mount/fuse/interface.ts'
import { mountTree } from '../mount/fuse/mount.ts'
import { AccessRecorder } from '../mount/tree/access-recorder.ts'
import { type CastoreTree, createCastoreTree } from '../mount/tree/castore-tree.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import { LayerMetrics } from '../services/composition/layer-metrics.ts'
import { localChunkFolder } from '../services/composition/local-chunks.ts'
import { openReloadableStores, type ReloadableStores } from '../services/composition/reloadable-stores.ts'
import { closureRootNodes } from '../services/pathinfos/closure-root-nodes.ts'
import { pathInfoRootNodes, type RootNodes } from '../services/pathinfos/root-nodes.ts'
import { StoreError } from '../support/errors.ts'
import { onStopOrReload } from '../support/lifecycle.ts'
import { DISK_CACHE_BYTES } from '../support/limits.ts'
import type { Logger } from '../support/log.ts'
import { requirePath } from '../transfer/open-path.ts'
import { walkClosure } from '../transfer/walk-closure.ts'
import { loggerOf } from './logging.ts'
import { renderStats, type StatsFormat } from './mount-stats.ts'
import { readProfile, writeProfile } from './profile-file.ts'
import {
  addReadinessOptions,
  announceReady,
  announceReloaded,
  announceReloading,
  announceStopping,
  type ReadinessOptions,
  runInBackground,
} from './readiness.ts'
import { addSignatureOptions, requiredSignatures, type SignatureOptions } from './signature-options.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'
import { parseStorePath } from './store-path-argument.ts'

interface MountOptions extends StoreOptions, ReadinessOptions, SignatureOptions {
  readonly allowOther: boolean
  readonly listRoot: boolean
  readonly showXattr: boolean
  readonly uidGid: { readonly uid: number; readonly gid: number }
  readonly stats: StatsFormat | undefined
  readonly driver?: MountDriver
  readonly passthrough: boolean
  readonly closureOf?: readonly string[]
  readonly record?: string
  readonly prefetch?: string
  readonly metrics?: string
  readonly cacheDir?: string
  readonly cacheSize?: number
}

export function addMountCommand(program: Command): void {
  const command = program
    .command('mount')
    .argument('<dest>', 'an empty directory, such as /nix/store')
    .description('Show the store as a read-only filesystem that fetches only what is read.')
    .option(
      '--allow-other',
      'let other users in, too (ALLOW_OTHER=true)',
      process.env['ALLOW_OTHER'] === 'true',
    )
    .option('-l, --list-root', 'let the mount point be listed', false)
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
        .choices(['text', 'json'])
        .preset('text'),
    )
    .addOption(
      new Option(
        '--driver <driver>',
        'how to speak to the kernel (default: native, and libfuse where that is not built)',
      ).choices(MOUNT_DRIVERS),
    )
    .option(
      '--closure-of <path...>',
      'show just these store paths and what they refer to (put -- or another option behind them)',
    )
    .option(
      '--passthrough',
      'let the kernel read blobs by itself that lie whole in --cache-dir or files:///…: for stores of large files, as root',
      false,
    )
    .option('--record <file>', 'write a profile there: what was listed and read until the end, in order')
    .option('--prefetch <file>', 'fetch what a profile tells of, ahead of being asked for it')
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
    // One thread that never blocks answers the kernel; scripts written for other implementations pass a number.
    .addOption(new Option('--threads <n>').env('THREADS').hideHelp())
    .addHelpText('after', '\nExample:\n  $ tvix-store mount --list-root /nix/store')
    .action(runMount)
  addSignatureOptions(command)
  addReadinessOptions(command)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runMount(target: string, options: MountOptions, command: Command): Promise<void> {
  if (options.daemonize) await runInBackground()
  const logger = loggerOf(command)
  const profile = options.prefetch === undefined ? undefined : await readProfile(options.prefetch)
  const recorder = options.record === undefined ? undefined : new AccessRecorder()
  const layerMetrics = options.metrics ? new LayerMetrics() : undefined
  const addresses = {
    ...storeAddresses(options),
    cache: cacheOf(options),
    requiredSignatures: requiredSignatures(options),
  }
  await using stores = await openReloadableStores(() => openCommandStores(command, addresses, layerMetrics))
  const rootNodes = options.closureOf
    ? await closureOf(stores, options.closureOf)
    : pathInfoRootNodes(stores.pathInfos)
  const tree = createCastoreTree({
    rootNodes,
    blobs: stores.blobs,
    directories: stores.directories,
    localDirectory: stores.localDirectory,
    openLocalFile: options.passthrough ? stores.openLocalFile : undefined,
    listRoot: options.listRoot,
    sources: stores.labels,
    logger,
    recorder,
    profile,
  })
  using closing = new DisposableStack()
  if (options.metrics) {
    const { startMetricsServer } = await import('../servers/metrics/server.ts')
    const metrics = await startMetricsServer(options.metrics, layerMetrics?.all ?? [])
    closing.defer(() => metrics.close())
    logger.info({ metrics_address: metrics.address }, 'serving metrics')
  }
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopOrReload(() => reload(stores, tree, logger))
  // What is pushed causes no request, and so would be missing in a profile. Nor would a cache folder see what it is for.
  const chunkFolder = recorder || options.cacheDir !== undefined ? undefined : localChunkFolder(addresses)
  const mount = await mountTree({ ...options, tree, target, logger, chunkFolder })
  logger.info({ target, store: stores.describe }, 'mounted')
  announceReady(options, logger)
  const report = (format: StatsFormat) =>
    process.stderr.write(renderStats(format, mount.stats, tree.stats, stores.sources()))
  process.on('SIGUSR1', () => report(options.stats ?? 'text'))
  stop.signal.addEventListener('abort', () => announceStopping(logger))
  await untilUnmounted(mount, stop.requested)
  tree.close()
  if (recorder && options.record !== undefined) await writeProfile(options.record, recorder.entries)
  if (options.stats) report(options.stats)
  logger.info({ target }, 'unmounted')
}

/** Turns to what the settings say now, or keeps what there is; what is gone from the root disappears. */
async function reload(stores: ReloadableStores, tree: CastoreTree, logger: Logger): Promise<void> {
  announceReloading(logger)
  try {
    await stores.reload()
    logger.info({ store: stores.describe }, 'the stores were opened anew')
  } catch (error) {
    const { code, message } = StoreError.from(error)
    logger.error({ code }, `the stores stay what they were: ${message}`)
  }
  await tree.checkRoot()
  announceReloaded(logger)
}

/** The folder as a full path: the mount may change where the process is. */
function cacheOf({ cacheDir, cacheSize }: MountOptions) {
  return cacheDir === undefined ? undefined : { path: resolve(cacheDir), size: cacheSize }
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

async function untilUnmounted(mount: Mount, stopRequested: Promise<unknown>): Promise<void> {
  await Promise.race([stopRequested, mount.closed])
  await mount.unmount()
}

/** `<uid>:<gid>`, with the messages of spec §4.5. */
function parseUidGid(text: string): { uid: number; gid: number } {
  const parts = text.split(':')
  if (parts.length !== 2) throw new InvalidArgumentError('no delimiter found: it is <uid>:<gid>.')
  const [uid, gid] = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN))
  if (!isId(uid)) throw new InvalidArgumentError('invalid lhs: a user id is a number below 2^32.')
  if (!isId(gid)) throw new InvalidArgumentError('invalid rhs: a group id is a number below 2^32.')
  return { uid, gid }
}

function isId(id: number | undefined): id is number {
  return id !== undefined && id < 2 ** 32
}
