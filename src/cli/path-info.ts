import type { Command } from 'commander'
import { printContentAddress } from '../model/nix/content-address.ts'
import { printSri } from '../model/nix/nix-hash.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { printSignature } from '../model/nix/signature.ts'
import type { StorePath } from '../model/nix/store-path.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import type { Stores } from '../services/composition/open-stores.ts'
import { printable, utf8 } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { formatBytes } from '../support/format.ts'
import { requirePath } from '../transfer/open-path.ts'
import { walkClosure } from '../transfer/walk-closure.ts'
import { exactNumber, jsonOfNode } from './node-json.ts'
import { writeText } from './output.ts'
import { addStoreOptions, openStoresToRead, type StoreOptions, storeAddresses } from './store-options.ts'
import { parseStorePath } from './store-path-argument.ts'

interface PathInfoOptions extends StoreOptions {
  readonly closure: boolean
  readonly all: boolean
  readonly json: boolean
}

const HELP = `
--json writes an object a line, with the fields of \`nix path-info --json\` and the root node.

Examples:
  $ tvix-store path-info /nix/store/<hash>-<name>
  $ tvix-store path-info --closure --json /nix/store/<hash>-<name>
  $ tvix-store path-info --all`

export function addPathInfoCommand(program: Command): void {
  const command = program
    .command('path-info')
    .argument('[store-path...]')
    .description('Tell what the store knows of store paths.')
    .option('-r, --closure', 'with everything they refer to, just the paths unless with --json', false)
    .option('--all', 'all that the store lists, just the paths unless with --json', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', HELP)
    .action(runPathInfo)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runPathInfo(what: string[], options: PathInfoOptions, command: Command): Promise<void> {
  if (options.all === what.length > 0)
    throw new StoreError(
      'invalid-argument',
      options.all ? 'either store paths or --all' : 'name store paths, or say --all',
    )
  const paths = what.map(parseStorePath)
  await using stores = await openStoresToRead(command, storeAddresses(options))
  await writeText(render(select(stores, paths, options), options))
}

async function* select(
  stores: Stores,
  paths: readonly StorePath[],
  options: PathInfoOptions,
): AsyncGenerator<PathInfo> {
  if (options.all) return yield* stores.pathInfos.list()
  if (options.closure)
    return yield* walkClosure((path, call, referrer) => requirePath(stores, path, call, referrer), paths)
  for (const path of paths) yield await requirePath(stores, path)
}

async function* render(infos: AsyncIterable<PathInfo>, options: PathInfoOptions): AsyncGenerator<string> {
  for await (const info of infos) {
    if (options.json) yield `${JSON.stringify(toJson(info))}\n`
    else if (options.all || options.closure) yield `${info.storePath.absolutePath}\n`
    else yield toText(info)
  }
}

function toJson(info: PathInfo): object {
  return {
    path: info.storePath.absolutePath,
    narHash: printSri({ algorithm: 'sha256', digest: info.narSha256 }),
    narSize: exactNumber(info.narSize),
    references: info.references.map((path) => path.absolutePath),
    ...(info.ca && { ca: printContentAddress(info.ca) }),
    ...(info.deriver && { deriver: derivation(info.deriver) }),
    signatures: info.signatures.map(printSignature),
    root: jsonOfNode(info.node),
  }
}

function toText(info: PathInfo): string {
  const narHash = printSri({ algorithm: 'sha256', digest: info.narSha256 })
  const fields: [string, readonly string[]][] = [
    ['root', [textOfNode(info)]],
    ['NAR', [`${narHash}, ${info.narSize} bytes (${formatBytes(Number(info.narSize))})`]],
    ['references', info.references.map((path) => path.absolutePath)],
    ['deriver', info.deriver ? [derivation(info.deriver)] : []],
    ['content address', info.ca ? [printContentAddress(info.ca)] : []],
    // The name of a key may be anything that a peer wrote.
    ['signatures', info.signatures.map((signature) => printable(utf8(printSignature(signature))))],
  ]
  const lines = fields.map(
    ([name, values]) => `  ${`${name}:`.padEnd(17)}${values.join(`\n${' '.repeat(19)}`) || 'none'}\n`,
  )
  return `${info.storePath.absolutePath}\n${lines.join('')}`
}

function textOfNode({ node }: PathInfo): string {
  if (node.kind === 'symlink') return `symlink to ${printable(node.target)}`
  if (node.kind === 'directory') return `directory ${node.digest}, size ${node.size}`
  return `${node.executable ? 'executable ' : ''}file ${node.digest}, ${node.size} bytes`
}

/** Kept without its suffix, shown with it. */
function derivation(deriver: StorePath): string {
  return `${deriver.absolutePath}.drv`
}
