import { type Command, Option } from 'commander'
import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { CLIENT_ADDRESSES } from '../../services/composition/default-addresses.ts'
import type { Stores } from '../../services/composition/open-stores.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import { directoryRootNodes } from '../../services/pathinfos/closure-root-nodes.ts'
import { StoreError } from '../../support/errors.ts'
import type { Logger } from '../../support/log.ts'
import { parseDigest } from '../digest-argument.ts'
import { printDigest } from '../node-json.ts'
import { addCastoreOptions, type CastoreOptions, castoreAddresses } from '../store-options.ts'
import { addViewOptions, openView, type TreeStores, type ViewOptions } from '../tree-options.ts'

/** What the commands take that show one directory as a filesystem. */
export function addDirectoryViewOptions(command: Command): void {
  // Always, since its names are known; scripts may ask for it all the same.
  command.addOption(new Option('-l, --list-root').default(true).hideHelp())
  addViewOptions(command)
  addCastoreOptions(command, CLIENT_ADDRESSES)
}

/** Opens stores with the entries of this directory at the root. Throws what is wrong with the digest at once. */
export function openDirectory(
  argument: string,
): (command: Command, options: ViewOptions & CastoreOptions, logger: Logger) => Promise<TreeStores> {
  const digest = parseDigest(argument)
  return (command, options, logger) =>
    openView(command, castoreAddresses(options), options, logger, async (stores) =>
      directoryRootNodes((await requireDirectory(stores, digest)).entries),
    )
}

/** Throws `not-found`, in the words of the Rust implementation. */
export async function requireDirectory(
  { directories, labels }: Pick<Stores, 'labels'> & { readonly directories: Pick<DirectoryService, 'get'> },
  digest: Digest,
): Promise<Directory> {
  const root = await directories.get(digest)
  if (root) return root
  throw new StoreError(
    'not-found',
    `Root directory not found: ${printDigest(digest)} is not in ${labels.directories}`,
  )
}
