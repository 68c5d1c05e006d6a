import { realpath, stat } from 'node:fs/promises'
import type { Command } from 'commander'
import type { SizeFormula } from '../../model/castore/directory.ts'
import { CLIENT_ADDRESSES, importCacheFolder } from '../../services/composition/default-addresses.ts'
import { utf8 } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { onStopSignal } from '../../support/lifecycle.ts'
import { ingestDirectory } from '../../transfer/ingest-directory.ts'
import { sourceError } from '../../transfer/source.ts'
import { directorySizeOption } from '../import.ts'
import { loggerOf } from '../logging.ts'
import { jsonOfNode, printDigest } from '../node-json.ts'
import { ImportProgress } from '../progress.ts'
import {
  addCastoreOptions,
  type CastoreOptions,
  castoreAddresses,
  openCommandStores,
} from '../store-options.ts'
import { finishUploads } from '../uploads.ts'

interface IngestOptions extends CastoreOptions {
  readonly json: boolean
  readonly directorySize?: SizeFormula
}

const HELP = `
Example:
  $ tvix-store castore ingest ./result`

export function addIngestCommand(castore: Command): void {
  const command = castore
    .command('ingest')
    .argument('<input>', 'a directory')
    .description('Store the contents of a directory and print its digest; no store path shows them.')
    .option('--json', 'one JSON object on standard output instead of the digest', false)
    .addOption(directorySizeOption())
    .addHelpText('after', HELP)
    .action(runIngest)
  addCastoreOptions(command, CLIENT_ADDRESSES)
}

async function runIngest(input: string, options: IngestOptions, command: Command): Promise<void> {
  const folder = await folderOf(input)
  await using stores = await openCommandStores(command, castoreAddresses(options))
  const stop = onStopSignal()
  const progress = new ImportProgress(1)
  try {
    const root = await ingestDirectory(stores, folder, {
      sizeFormula: options.directorySize ?? (await stores.askSizeFormula?.(stop)) ?? 'rust',
      progress,
      cacheFolder: importCacheFolder(),
      logger: loggerOf(command),
      signal: stop.signal,
    })
    progress.path()
    progress.print(options.json ? JSON.stringify(jsonOfNode(root)) : printDigest(root.digest))
    progress.finish()
    await finishUploads(stores, stop)
  } catch (error) {
    progress.stop()
    throw stop.signal.aborted
      ? new StoreError('cancelled', 'interrupted; nothing half-ingested is visible')
      : error
  }
}

/** Unlike a store path, a root has no name: a symlink to a directory is as good as the directory. */
async function folderOf(input: string): Promise<string> {
  try {
    if ((await stat(input)).isDirectory()) return await realpath(input)
  } catch (error) {
    throw sourceError('read', utf8(input), error)
  }
  throw new StoreError('invalid-argument', `the root has to be a directory; ${input} is none`)
}
