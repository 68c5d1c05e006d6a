import { type Command, Option } from 'commander'
import { CLIENT_ADDRESSES } from '../../services/composition/default-addresses.ts'
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
    openView(command, castoreAddresses(options), options, logger, async ({ directories, labels }) => {
      const root = await directories.get(digest)
      if (root) return directoryRootNodes(root.entries)
      throw new StoreError(
        'not-found',
        `Root directory not found: ${printDigest(digest)} is not in ${labels.directories}`,
      )
    })
}
