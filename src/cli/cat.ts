import type { Command } from 'commander'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import { StoreError } from '../support/errors.ts'
import { openPath } from '../transfer/open-path.ts'
import { writeOutput } from './output.ts'
import { addStoreOptions, openStoresToRead, type StoreOptions, storeAddresses } from './store-options.ts'
import { parseInnerPath } from './store-path-argument.ts'

export function addCatCommand(program: Command): void {
  const command = program
    .command('cat')
    .argument('<path>', 'a file in a store path; symlinks are followed')
    .description('Write a file in the store to standard output.')
    .addHelpText('after', '\nExample:\n  $ tvix-store cat /nix/store/<hash>-<name>/etc/os-release')
    .action(runCat)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runCat(argument: string, options: StoreOptions, command: Command): Promise<void> {
  const { storePath, inner } = parseInnerPath(argument)
  await using stores = await openStoresToRead(command, storeAddresses(options))
  const { path, node } = await openPath(stores, storePath, inner)
  if (node.kind !== 'file')
    throw new StoreError('invalid-argument', `${path} is a directory; \`tvix-store ls ${path}\` lists it`)
  const contents = await stores.blobs.openRead(node.digest)
  if (!contents)
    throw new StoreError('corrupt', `blob ${node.digest} (${path}) is missing from ${stores.describe}`)
  await writeOutput(contents)
}
