import type { Command } from 'commander'
import { addMountOptions, type MountOptions, runMount } from '../mount.ts'
import type { CastoreOptions } from '../store-options.ts'
import { addDirectoryViewOptions, openDirectory } from './directory-view.ts'

export function addCastoreMountCommand(castore: Command): void {
  const command = castore
    .command('mount')
    .argument('<digest>', 'of a directory, as `castore ingest` prints it')
    .argument('<dest>', 'an empty directory')
    .description('Show a directory as a read-only filesystem that fetches only what is read.')
    .option('--allow-other', 'let other users in, too (the default)', true)
    .option('--no-allow-other', 'do not')
    .addHelpText(
      'after',
      '\nExample:\n  $ tvix-store castore mount "$(tvix-store castore ingest ./result)" /mnt',
    )
    .action(async (digest: string, target: string, options: MountOptions & CastoreOptions) =>
      runMount(target, options, command, openDirectory(digest)),
    )
  addMountOptions(command)
  addDirectoryViewOptions(command)
}
