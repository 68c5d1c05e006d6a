import type { Command } from 'commander'
import { MemoryReader } from '../mount/fuse/memory-reader.ts'
import { createCastoreTree } from '../mount/tree/castore-tree.ts'
import { serveGuests } from '../mount/virtiofs/guest-server.ts'
import { LocalChunks } from '../services/blobs/local-chunks.ts'
import { onStopOrReload } from '../support/lifecycle.ts'
import { MOUNT_CALL_MS_MAX, MOUNT_NEGATIVE_MS } from '../support/limits.ts'
import type { Logger } from '../support/log.ts'
import { addConfinementOptions, type ConfinementOptions, confineProcess } from './confinement.ts'
import { addSocketOptions, type SocketOptions, socketOwnership } from './listen-options.ts'
import { loadAhead } from './load-ahead.ts'
import { loggerOf } from './logging.ts'
import { warnOfMemoryLimit } from './memory-limit.ts'
import { reportStats } from './mount-stats.ts'
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

interface VirtiofsFlags extends ReadinessOptions, SocketOptions, ConfinementOptions {}

export interface VirtiofsOptions extends ViewOptions, VirtiofsFlags {
  readonly listRoot: boolean
}

const EXAMPLE = `
Example:
  $ tvix-store virtiofs --list-root /run/guest.socket
  $ qemu-system-x86_64 … -m 4G -object memory-backend-memfd,id=memory,size=4G,share=on -numa node,memdev=memory \\
      -chardev socket,id=store,path=/run/guest.socket \\
      -device vhost-user-fs-pci,chardev=store,tag=store,queue-size=1024
  # mount -t virtiofs -o ro store /nix/store        (in the guest)`

export function addVirtiofsCommand(program: Command): void {
  const command = program
    .command('virtiofs')
    .argument('<socket...>', 'where virtual machine monitors connect (vhost-user); one for each guest')
    .description(
      'Show the store to virtual machines, as a read-only filesystem that fetches only what is read.',
    )
    .addHelpText('after', EXAMPLE)
    .action((sockets: string[], options: VirtiofsFlags & TreeOptions, command: Command) =>
      runVirtiofs(sockets, options, command, openTreeStores),
    )
  addVirtiofsOptions(command)
  addTreeOptions(command)
}

export function addVirtiofsOptions(command: Command): void {
  addSocketOptions(command)
  addConfinementOptions(command)
  addReadinessOptions(command)
}

/** Serves guests what `open` opens until a signal asks to stop. */
export async function runVirtiofs<O extends VirtiofsOptions>(
  sockets: readonly string[],
  options: O,
  command: Command,
  open: (command: Command, options: O, logger: Logger) => Promise<TreeStores>,
): Promise<void> {
  if (options.daemonize) await runInBackground(options)
  const logger = loggerOf(command)
  await using opened = await open(command, options, logger)
  const { stores, rootNodes, localChunks } = opened
  await using memoryReader = localChunks && new MemoryReader(localChunks)
  const tree = createCastoreTree({
    rootNodes,
    blobs: stores.blobs,
    directories: stores.directories,
    localDirectory: stores.localDirectory,
    localChunks: localChunks && LocalChunks.of(localChunks),
    plannedReads: memoryReader,
    listRoot: options.listRoot,
    sources: stores.labels,
    logger,
  })
  // Until here there is nothing to wind down, and a signal ends the process at once.
  const stop = onStopOrReload(() => reloadTree(stores, tree, logger))
  const server = await serveGuests({
    tree,
    sockets,
    permissions: socketOwnership(options),
    owner: options.uidGid,
    showXattr: options.showXattr,
    negativeMs: MOUNT_NEGATIVE_MS,
    callMs: MOUNT_CALL_MS_MAX,
    logger,
    onListening: () => confineProcess(options, logger),
  })
  const reportAtEnd = reportStats(options.stats, server, tree, stores)
  logger.info({ sockets: sockets.join(' '), store: stores.describe }, 'waiting for guests')
  loadAhead(logger)
  announceReady(options, logger)
  warnOfMemoryLimit(logger)
  stop.signal.addEventListener('abort', () => announceStopping(logger))
  await stop.requested
  await server.close()
  tree.close()
  reportAtEnd()
  logger.info({}, 'stopped')
}
