import type { Command } from 'commander'
import type { CastoreOptions } from '../store-options.ts'
import { addVirtiofsOptions, runVirtiofs, type VirtiofsOptions } from '../virtiofs.ts'
import { addDirectoryViewOptions, openDirectory } from './directory-view.ts'

export function addCastoreVirtiofsCommand(castore: Command): void {
  const command = castore
    .command('virtiofs')
    .argument('<digest>', 'of a directory, as `castore ingest` prints it')
    .argument('<socket...>', 'where virtual machine monitors connect (vhost-user); one for each guest')
    .description('Show a directory to virtual machines, as a read-only filesystem.')
    .addHelpText('after', '\nExample:\n  $ tvix-store castore virtiofs blake3-… /run/guest.socket')
    .action(async (digest: string, sockets: string[], options: VirtiofsOptions & CastoreOptions) =>
      runVirtiofs(sockets, options, command, openDirectory(digest)),
    )
  addVirtiofsOptions(command)
  addDirectoryViewOptions(command)
}
