import { type Command, Option } from 'commander'
import type { SizeFormula } from '../model/castore/directory.ts'
import { importName } from '../model/nix/import-name.ts'
import { printSri } from '../model/nix/nix-hash.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { CLIENT_ADDRESSES, importCacheFolder } from '../services/composition/default-addresses.ts'
import { utf8 } from '../support/bytes.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { IMPORT_PATHS_MAX } from '../support/limits.ts'
import { importPath } from '../transfer/import-path.ts'
import { loggerOf } from './logging.ts'
import { jsonOfNode } from './node-json.ts'
import { ImportProgress } from './progress.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'
import { finishUploads } from './uploads.ts'

interface ImportOptions extends StoreOptions {
  readonly json: boolean
  readonly directorySize?: SizeFormula
}

export function addImportCommand(program: Command): void {
  const command = program
    .command('import')
    .alias('import-path')
    .argument('[path...]', 'files, directories or symlinks to put into the store')
    .description('Put trees into the store, each under the path that `nix-store --add` gives it.')
    .option('--json', 'one JSON object a line on standard output instead of the store path', false)
    .addOption(directorySizeOption())
    .addHelpText('after', '\nExample:\n  $ tvix-store import ./result /usr/share/doc')
    .action(runImport)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

export function directorySizeOption(): Option {
  return new Option(
    '--directory-size <formula>',
    'how sizes of directories are counted (default: as the peer that stores them wants it, else rust)',
  ).choices(['rust', 'documented'])
}

/** Prints the store path of every tree as soon as it is stored; the first failure ends it. */
async function runImport(paths: string[], options: ImportOptions, command: Command): Promise<void> {
  if (paths.length === 0) return
  // A name that cannot be in a store path is told before anything is read.
  for (const path of paths) importName(utf8(path))
  await using stores = await openCommandStores(command, storeAddresses(options))
  const stop = onStopSignal()
  const progress = new ImportProgress(paths.length)
  try {
    const sizeFormula = options.directorySize ?? (await stores.askSizeFormula?.(stop)) ?? 'rust'
    const settings = { sizeFormula, progress, cacheFolder: importCacheFolder(), logger: loggerOf(command) }
    const imported = mapConcurrent(
      paths,
      IMPORT_PATHS_MAX,
      async (path, call) => {
        const pathInfo = await importPath(stores, path, { ...settings, ...call })
        progress.path()
        progress.print(options.json ? toJson(path, pathInfo) : pathInfo.storePath.absolutePath)
      },
      { signal: stop.signal },
    )
    for await (const _ of imported);
    progress.finish()
    await finishUploads(stores, stop)
  } catch (error) {
    progress.stop()
    throw stop.signal.aborted
      ? new StoreError('cancelled', 'interrupted; nothing half-imported is visible')
      : error
  }
}

function toJson(path: string, pathInfo: PathInfo): string {
  return JSON.stringify({
    path,
    storePath: pathInfo.storePath.absolutePath,
    narSize: Number(pathInfo.narSize),
    narHash: printSri({ algorithm: 'sha256', digest: pathInfo.narSha256 }),
    root: jsonOfNode(pathInfo.node),
  })
}
