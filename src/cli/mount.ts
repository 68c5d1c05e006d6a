import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Mount, mountTree } from '../mount/fuse/mount.ts'
import { createCastoreTree } from '../mount/tree/castore-tree.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import { pathInfoRootNodes } from '../services/pathinfos/root-nodes.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { loggerOf } from './logging.ts'
import { renderStats, type StatsFormat } from './mount-stats.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'

interface MountOptions extends StoreOptions {
  readonly allowOther: boolean
  readonly listRoot: boolean
  readonly showXattr: boolean
  readonly uidGid: { readonly uid: number; readonly gid: number }
  readonly stats: StatsFormat | undefined
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
    // One thread that never blocks answers the kernel; scripts written for other implementations pass a number.
    .addOption(new Option('--threads <n>').env('THREADS').hideHelp())
    .addHelpText('after', '\nExample:\n  $ tvix-store mount --list-root /nix/store')
    .action(runMount)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runMount(target: string, options: MountOptions, command: Command): Promise<void> {
  const logger = loggerOf(command)
  await using stores = await openCommandStores(command, storeAddresses(options))
  const rootNodes = pathInfoRootNodes(stores.pathInfos)
  const tree = createCastoreTree({
    rootNodes,
    blobs: stores.blobs,
    directories: stores.directories,
    listRoot: options.listRoot,
    sources: storeAddresses(options),
    logger,
  })
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopSignal()
  const mount = await mountTree({ ...options, tree, target, logger })
  logger.info({ target, store: stores.describe }, 'mounted')
  const report = (format: StatsFormat) => process.stderr.write(renderStats(format, mount.stats, tree.stats))
  process.on('SIGUSR1', () => report(options.stats ?? 'text'))
  await untilUnmounted(mount, stop.requested)
  tree.close()
  if (options.stats) report(options.stats)
  logger.info({ target }, 'unmounted')
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
