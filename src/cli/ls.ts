import { isUtf8 } from 'node:buffer'
import type { Command } from 'commander'
import type { DirectoryNode, Entry, FileNode, Node, SymlinkNode } from '../model/castore/node.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { printable, view } from '../support/bytes.ts'
import { MissingError, StoreError } from '../support/errors.ts'
import { TREE_DEPTH_MAX } from '../support/limits.ts'
import { openPath } from '../transfer/open-path.ts'
import { writeText } from './output.ts'
import { addStoreOptions, openStoresToRead, type StoreOptions, storeAddresses } from './store-options.ts'
import { parseInnerPath } from './store-path-argument.ts'

interface LsOptions extends StoreOptions {
  readonly recursive: boolean
  readonly long: boolean
  readonly directory: boolean
  readonly json: boolean
}

const HELP = `
Symlinks on the way are followed, the last one is shown as it is.

Examples:
  $ tvix-store ls -l /nix/store/<hash>-<name>/bin
  $ tvix-store ls -R --json /nix/store/<hash>-<name>`

export function addLsCommand(program: Command): void {
  const command = program
    .command('ls')
    .argument('<path>', 'a store path, or a path into one')
    .description('List what is in a store path, without fetching contents.')
    .option('-R, --recursive', 'with everything below', false)
    .option('-l, --long', 'with type, permissions, size and target', false)
    .option('-d, --directory', 'a directory itself, and not what is in it', false)
    .option('--json', 'as `nix store ls --json` writes it', false)
    .addHelpText('after', HELP)
    .action(runLs)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runLs(argument: string, options: LsOptions, command: Command): Promise<void> {
  const { storePath, inner } = parseInnerPath(argument)
  await using stores = await openStoresToRead(command, storeAddresses(options))
  const { path, node } = await openPath(stores, storePath, inner, { keepLast: true })
  const listing = new Listing(stores.directories, options)
  await writeText(options.json ? listing.json(node) : listing.text(path, node))
}

class Listing {
  readonly #directories: DirectoryService
  readonly #options: LsOptions

  constructor(directories: DirectoryService, options: LsOptions) {
    this.#directories = directories
    this.#options = options
  }

  async *text(path: string, root: Node): AsyncGenerator<string> {
    if (root.kind === 'directory' && !this.#options.directory) yield* this.#lines('.', root, 0)
    else yield this.#line(root.kind === 'directory' ? '.' : path.slice(path.lastIndexOf('/') + 1), root)
  }

  async *json(root: Node): AsyncGenerator<string> {
    yield* this.#jsonNode(root, 0)
    yield '\n'
  }

  async *#lines(path: string, node: DirectoryNode, depth: number): AsyncGenerator<string> {
    for (const entry of await this.#entries(node, depth)) {
      const name = `${path}/${printable(entry.name)}`
      yield this.#line(name, entry.node)
      if (this.#options.recursive && entry.node.kind === 'directory')
        yield* this.#lines(name, entry.node, depth + 1)
    }
  }

  /** In the form of Nix: mode, size in 20 columns, name, target. */
  #line(name: string, node: Node): string {
    if (!this.#options.long) return `${name}\n`
    const size = node.kind === 'file' ? node.size : 0
    const target = node.kind === 'symlink' ? ` -> ${printable(node.target)}` : ''
    return `${mode(node)} ${size.toString().padStart(20)} ${name}${target}\n`
  }

  async *#jsonNode(node: Node, depth: number): AsyncGenerator<string> {
    if (node.kind !== 'directory') return yield jsonLeaf(node)
    if (this.#options.directory) return yield '{"type":"directory"}'
    let separator = '{"type":"directory","entries":{'
    const entries = await this.#entries(node, depth)
    for (const entry of entries) {
      yield `${separator}${quoted(entry.name)}:`
      if (this.#options.recursive) yield* this.#jsonNode(entry.node, depth + 1)
      else yield '{}'
      separator = ','
    }
    yield entries.length === 0 ? `${separator}}}` : '}}'
  }

  async #entries({ digest }: DirectoryNode, depth: number): Promise<readonly Entry[]> {
    if (depth >= TREE_DEPTH_MAX)
      throw new StoreError('exhausted', `the tree is nested deeper than ${TREE_DEPTH_MAX} directories`)
    const directory = await this.#directories.get(digest)
    if (!directory) throw new MissingError(`directory ${digest}`)
    return directory.entries
  }
}

function mode(node: Node): string {
  if (node.kind === 'directory') return 'dr-xr-xr-x'
  if (node.kind === 'symlink') return 'lrwxrwxrwx'
  return node.executable ? '-r-xr-xr-x' : '-r--r--r--'
}

function jsonLeaf(node: FileNode | SymlinkNode): string {
  if (node.kind === 'symlink') return `{"type":"symlink","target":${quoted(node.target)}}`
  const executable = node.executable ? ',"executable":true' : ''
  return `{"type":"regular","size":${node.size}${executable}}`
}

function quoted(bytes: Uint8Array): string {
  // A replacement character would make two names one.
  if (!isUtf8(bytes))
    throw new StoreError(
      'invalid-argument',
      `"${printable(bytes)}" is not UTF-8, and JSON needs it; list without --json`,
    )
  return JSON.stringify(view(bytes).toString('utf8'))
}
