import { createHash } from 'node:crypto'
import type { Command } from 'commander'
import type { PathInfo } from '../model/nix/path-info.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import { equalBytes, hex } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { onStopSignal } from '../support/lifecycle.ts'
import { requirePath } from '../transfer/open-path.ts'
import { type Contents, renderNar } from '../transfer/render-nar.ts'
import { refuseTerminal, writeFileWhole, writeOutput } from './output.ts'
import { addStoreOptions, openStoresToRead, type StoreOptions, storeAddresses } from './store-options.ts'
import { parseStorePath } from './store-path-argument.ts'

interface ExportNarOptions extends StoreOptions {
  readonly output?: string
}

const HELP = `
The same bytes as \`nix-store --dump\`. They are compared with the hash that the store has of them;
a file is there only when they were right.

Examples:
  $ tvix-store export-nar /nix/store/<hash>-<name> | nix-store --restore ./copy
  $ tvix-store export-nar /nix/store/<hash>-<name> | xz > name.nar.xz`

export function addExportNarCommand(program: Command): void {
  const command = program
    .command('export-nar')
    .argument('<store-path>', 'a whole store path')
    .description('Write a store path as a NAR.')
    .option('-o, --output <file>', 'a file instead of standard output')
    .addHelpText('after', HELP)
    .action(runExportNar)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runExportNar(argument: string, options: ExportNarOptions, command: Command): Promise<void> {
  const storePath = parseStorePath(argument)
  if (options.output === undefined) refuseTerminal('a NAR')
  await using stores = await openStoresToRead(command, storeAddresses(options))
  const pathInfo = await requirePath(stores, storePath)
  if (options.output === undefined) await writeOutput(checkedNar(stores, pathInfo))
  else await writeFile(options.output, (call) => checkedNar(stores, pathInfo, call))
}

/** On a signal what there is of the file is removed. */
async function writeFile(path: string, nar: (call: Call) => AsyncIterable<Uint8Array>): Promise<void> {
  const stop = onStopSignal()
  try {
    await writeFileWhole(path, nar(stop))
  } catch (error) {
    throw stop.signal.aborted ? new StoreError('cancelled', 'interrupted; no file was written') : error
  }
}

/** Throws `corrupt` at the end when it was not the NAR that the path info tells of. */
async function* checkedNar(services: Contents, pathInfo: PathInfo, call?: Call): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  for await (const piece of renderNar(services, pathInfo.node, call)) {
    hash.update(piece)
    yield piece
  }
  const found = hash.digest()
  if (equalBytes(found, pathInfo.narSha256)) return
  const what = `the NAR of ${pathInfo.storePath.absolutePath} has sha256 ${hex(found)}`
  throw new StoreError('corrupt', `${what}, but its path info says ${hex(pathInfo.narSha256)}`)
}
