import { type Command, InvalidArgumentError, Option } from 'commander'
import { encodeNodeMessage } from '../model/castore/directory-codec.ts'
import type { Node } from '../model/castore/node.ts'
import { checkStorePathName } from '../model/nix/store-path.ts'
import { narStorePath } from '../model/nix/store-path-calculation.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import type { Stores } from '../services/composition/open-stores.ts'
import type { IngestedNar, IngestNarOptions } from '../services/pathinfos/interface.ts'
import { view } from '../support/bytes.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { COMPRESSION_MAGIC_BYTES, decompressed, detectCompression } from '../support/decompress.ts'
import { StoreError, withContext } from '../support/errors.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { IMPORT_NARS_MAX } from '../support/limits.ts'
import { peek } from '../support/peek.ts'
import { ingestNar } from '../transfer/ingest-nar.ts'
import { inputName, readInput } from './input.ts'
import { jsonOfNode } from './node-json.ts'
import { ImportProgress } from './progress.ts'
import { addStoreOptions, openCommandStores, type StoreOptions, storeAddresses } from './store-options.ts'
import { finishUploads } from './uploads.ts'

type NodeFormat = 'urlsafe-base64' | 'base64' | 'json'

interface ImportNarOptions extends StoreOptions {
  readonly format: NodeFormat
  readonly concurrency: number
  readonly name?: string
}

const HELP = `
Compression (gzip, bzip2, xz, zstd) is recognised by itself. Prints the root node of each NAR, in the
order of the arguments; nothing but its contents is stored, so no store path shows it. With --name the
NAR becomes the store path that \`nix-store --add\` gives such a tree, which is then printed.

Examples:
  $ tvix-store import-nar a.nar b.nar.xz
  $ nix-store --dump ./tree | tvix-store import-nar --name tree -`

export function addImportNarCommand(program: Command): void {
  const command = program
    .command('import-nar')
    .argument('[path...]', 'NARs: files, unix sockets, or - for standard input')
    .description('Put the contents of NARs into the store.')
    .addOption(
      new Option(
        '--format <format>',
        'how root nodes are printed; urlsafe-base64 is what URLs of the nar-bridge have',
      )
        .choices(['urlsafe-base64', 'base64', 'json'])
        .default('json'),
    )
    .option('--concurrency <count>', 'NARs that are read at the same time', parseConcurrency, IMPORT_NARS_MAX)
    .option('--name <name>', 'make it a store path of this name and print that (one NAR only)')
    .addHelpText('after', HELP)
    .action(runImportNar)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runImportNar(paths: string[], options: ImportNarOptions, command: Command): Promise<void> {
  const { name } = options
  if (name !== undefined && paths.length !== 1)
    throw new StoreError('invalid-argument', `--name is for one NAR; ${paths.length} were given`)
  if (name !== undefined) checkStorePathName(name)
  if (paths.length === 0) return
  await using stores = await openCommandStores(command, {
    ...storeAddresses(options),
    // Nobody asks for path infos, so no database of them is created either.
    ...(name === undefined && { pathInfos: 'memory:' }),
  })
  const stop = onStopSignal()
  const progress = new ImportProgress(paths.length)
  try {
    const sizeFormula = (await stores.askSizeFormula?.(stop)) ?? 'rust'
    const imported = mapConcurrent(
      paths,
      options.concurrency,
      async (path, call) => importNar(stores, path, { sizeFormula, progress, ...call }),
      { signal: stop.signal },
    )
    for await (const nar of imported) {
      progress.path()
      progress.print(
        name === undefined ? printNode(nar.node, options.format) : await putPath(stores, name, nar),
      )
    }
    progress.finish()
    await finishUploads(stores, stop)
  } catch (error) {
    progress.stop()
    throw stop.signal.aborted ? new StoreError('cancelled', 'interrupted') : error
  }
}

async function importNar(stores: Stores, path: string, options: IngestNarOptions): Promise<IngestedNar> {
  try {
    const { head, whole } = await peek(readInput(path, options), COMPRESSION_MAGIC_BYTES)
    return await ingestNar(stores, decompressed(whole, detectCompression(head), options), options)
  } catch (error) {
    throw withContext(inputName(path), error)
  }
}

async function putPath(
  stores: Stores,
  name: string,
  { node, narSize, narSha256 }: IngestedNar,
): Promise<string> {
  const storePath = narStorePath(name, narSha256)
  const ca = { kind: 'nar', algorithm: 'sha256', digest: narSha256 } as const
  await stores.pathInfos.put({
    ...{ storePath, node, narSize, narSha256, ca },
    ...{ references: [], signatures: [], deriver: undefined },
  })
  return storePath.absolutePath
}

function printNode(node: Node, format: NodeFormat): string {
  if (format === 'json') return JSON.stringify(jsonOfNode(node))
  const anonymous = view(encodeNodeMessage(new Uint8Array(0), node))
  return anonymous.toString(format === 'base64' ? 'base64' : 'base64url')
}

function parseConcurrency(text: string): number {
  if (!/^[1-9][0-9]{0,2}$/.test(text)) throw new InvalidArgumentError('it is a number from 1 to 999.')
  return Number(text)
}
