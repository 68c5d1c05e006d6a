import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { MOUNT_DRIVERS, type Mount, type MountDriver } from '../mount/fuse/interface.ts'
import { mountTree } from '../mount/fuse/mount.ts'
import { AccessRecorder } from '../mount/tree/access-recorder.ts'
import { createCastoreTree } from '../mount/tree/castore-tree.ts'
import { LocalChunks } from '../services/blobs/local-chunks.ts'
import { StoreError } from '../support/errors.ts'
import { limitHeapGrowth } from '../support/heap-growth.ts'
import { onStopOrReload } from '../support/lifecycle.ts'
import type { Logger } from '../support/log.ts'
import { isSwitchedOn } from './environment.ts'
import { loadAhead, touchRoot, touchStores } from './load-ahead.ts'
import { loggerOf } from './logging.ts'
import { warnOfMemoryLimit } from './memory-limit.ts'
import { reportStats } from './mount-stats.ts'
import { tellUses } from './mount-uses.ts'
import { checkProfileTarget, readProfile, writeProfile } from './profile-file.ts'
import {
  addReadinessOptions,
  announceReady,
  announceStopping,
  type ReadinessOptions,
  runInBackground,
} from './readiness.ts'
import { reloadTree } from './reload-tree.ts'
import {
  addTreeOptions,
  openTreeStores,
  type TreeOptions,
  type TreeStores,
  type ViewOptions,
} from './tree-options.ts'

interface MountFlags extends ReadinessOptions {
  readonly allowOther: boolean
  readonly driver?: MountDriver
  readonly passthrough: boolean
  readonly record?: string
  readonly prefetch?: string
}

export interface MountOptions extends ViewOptions, MountFlags {
  readonly listRoot: boolean
}

export function addMountCommand(program: Command): void {
  const command = program
    .command('mount')
    .argument('<dest>', 'an empty directory, such as /nix/store')
    .description('Show the store as a read-only filesystem that fetches only what is read.')
    .option('--allow-other', 'let other users in, too (ALLOW_OTHER=true)', isSwitchedOn('ALLOW_OTHER'))
    .addHelpText('after', '\nExample:\n  $ tvix-store mount --list-root /nix/store')
    .action((target: string, options: MountFlags & TreeOptions, command: Command) =>
      runMount(target, options, command, openTreeStores),
    )
  addMountOptions(command)
  addTreeOptions(command)
}

export function addMountOptions(command: Command): void {
  command
    .addOption(
      new Option(
        '--driver <driver>',
        'how to speak to the kernel (default: native, and libfuse where that is not built)',
      ).choices(MOUNT_DRIVERS),
    )
    .option(
      '--passthrough',
      'let the kernel read blobs by itself that lie whole in --cache-dir or files:///…: for stores of large files, as root',
      false,
    )
    .option('--record <file>', 'write a profile there: what was listed and read until the end, in order')
    .option('--prefetch <file>', 'fetch what a profile tells of, ahead of being asked for it')
    // One thread that never blocks answers the kernel; scripts written for other implementations pass a number.
    .addOption(new Option('--threads <n>').env('THREADS').hideHelp())
  addReadinessOptions(command)
}

/** Shows what `open` opens until it is unmounted or a signal asks to stop. */
export async function runMount<O extends MountOptions>(
  target: string,
  options: O,
  command: Command,
  open: (command: Command, options: O, logger: Logger) => Promise<TreeStores>,
): Promise<void> {
  checkFlags(target, options)
  if (options.daemonize) await runInBackground(options)
  limitHeapGrowth()
  const logger = loggerOf(command)
  const profile = options.prefetch === undefined ? undefined : await readProfile(options.prefetch)
  if (options.record !== undefined) await checkProfileTarget(options.record)
  const recorder = options.record === undefined ? undefined : new AccessRecorder()
  await using opened = await open(command, options, logger)
  const { stores, rootNodes, localChunks } = opened
  if (options.passthrough && !mayHaveLocalFiles(opened.addresses))
    logger.warn({}, '--passthrough does nothing here: it is for --cache-dir, and for blobs at files:///path')
  // Threads of the native device read and push past the tree; what they do would be missing in a profile.
  const isReadByTree = recorder !== undefined || options.driver === 'libfuse'
  const tree = createCastoreTree({
    rootNodes,
    blobs: stores.blobs,
    directories: stores.directories,
    localDirectory: stores.localDirectory,
    localChunks: isReadByTree && localChunks ? LocalChunks.of(localChunks) : undefined,
    openLocalFile: options.passthrough ? stores.openLocalFile : undefined,
    listRoot: options.listRoot,
    sources: stores.labels,
    logger,
    recorder,
    profile,
  })
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopOrReload(() => reloadTree(stores, tree, logger))
  const chunksOfThreads = isReadByTree ? undefined : localChunks
  const mount = await mountTree({ ...options, tree, target, logger, localChunks: chunksOfThreads })
  const reportAtEnd = reportStats(options.stats, mount, tree, stores)
  loadAhead(logger)
  announceReady(options, logger)
  touchRoot(mount.target)
  touchStores(stores, rootNodes, localChunks)
  warnOfMemoryLimit(logger)
  logger.info({ target, store: stores.describe }, 'mounted')
  stop.signal.addEventListener('abort', () => announceStopping(logger))
  await untilUnmounted(mount, stop.requested)
  tellUses(mount.stats)
  tree.close()
  if (recorder && options.record !== undefined) await writeProfile(options.record, recorder.entries)
  reportAtEnd()
  logger.info({ target }, 'unmounted')
}

/** What would only be found out when the store is open, and there are folders where none should be, or never. */
function checkFlags(target: string, { cacheDir, record, passthrough, driver }: MountOptions): void {
  if (target === '')
    throw new StoreError('invalid-argument', 'the mount point has no name: is a variable empty?')
  for (const [flag, path] of Object.entries({ '--cache-dir': cacheDir, '--record': record }))
    if (path !== undefined && isWithin(resolve(path), resolve(target)))
      throw new StoreError(
        'invalid-argument',
        `${flag} ${path} lies in the mount point, which hides it: name another place`,
      )
  if (passthrough && driver === 'libfuse')
    throw new StoreError(
      'invalid-argument',
      '--passthrough needs the native driver; leave out --driver libfuse',
    )
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

/** Of a composition, which can change while it is mounted, nobody knows. */
function mayHaveLocalFiles({ blobs, cache, composition }: TreeStores['addresses']): boolean {
  return cache !== undefined || composition !== undefined || blobs.startsWith('files:')
}

async function untilUnmounted(mount: Mount, stopRequested: Promise<unknown>): Promise<void> {
  await Promise.race([stopRequested, mount.closed])
  await mount.unmount()
}
