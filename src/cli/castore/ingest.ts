import { realpath, stat } from 'node:fs/promises'
import type { Command } from 'commander'
import type { SizeFormula } from '../../model/castore/directory.ts'
import type { DirectoryNode } from '../../model/castore/node.ts'
import { CLIENT_ADDRESSES, importCacheFolder } from '../../services/composition/default-addresses.ts'
import type { Stores } from '../../services/composition/open-stores.ts'
import { utf8 } from '../../support/bytes.ts'
import { COMPRESSION_MAGIC_BYTES, decompressed, detectCompression } from '../../support/decompress.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import { onStopSignal } from '../../support/lifecycle.ts'
import { peek } from '../../support/peek.ts'
import { ingestDirectory } from '../../transfer/ingest-directory.ts'
import { type IngestTarOptions, ingestTar } from '../../transfer/ingest-tar.ts'
import { sourceError } from '../../transfer/source.ts'
import { directorySizeOption } from '../import.ts'
import { inputName, readInput } from '../input.ts'
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
A tar has one directory at the top, whose contents are stored. It may be compressed with gzip, bzip2, xz or zstd.

Examples:
  $ tvix-store castore ingest ./result
  $ ssh host tar c /srv/www | tvix-store castore ingest -`

export function addIngestCommand(castore: Command): void {
  const command = castore
    .command('ingest')
    .argument('<input>', 'a directory, or a tar: a file, a unix socket, or - for standard input')
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
    const settings = {
      sizeFormula: options.directorySize ?? (await stores.askSizeFormula?.(stop)) ?? 'rust',
      progress,
      signal: stop.signal,
    }
    const root =
      folder === undefined
        ? await ingestTarFrom(stores, input, settings)
        : await ingestDirectory(stores, folder, {
            ...settings,
            cacheFolder: importCacheFolder(),
            logger: loggerOf(command),
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

/** Unlike a store path, a root has no name: a symlink to a directory is as good as the directory. Anything else is a tar. */
async function folderOf(input: string): Promise<string | undefined> {
  if (input === '-') return undefined
  try {
    return (await stat(input)).isDirectory() ? await realpath(input) : undefined
  } catch (error) {
    throw sourceError('read', utf8(input), error)
  }
}

async function ingestTarFrom(
  stores: Stores,
  input: string,
  options: IngestTarOptions,
): Promise<DirectoryNode> {
  try {
    const { head, whole } = await peek(readInput(input, options), COMPRESSION_MAGIC_BYTES)
    return await ingestTar(stores, decompressed(whole, detectCompression(head), options), options)
  } catch (error) {
    throw withContext(inputName(input), error)
  }
}
