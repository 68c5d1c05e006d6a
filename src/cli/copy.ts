import { statSync } from 'node:fs'
import type { Command } from 'commander'
import type { PathMetadata } from '../model/nix/reference-graph.ts'
import { STORE_DIR } from '../model/nix/store-path.ts'
import { CLIENT_ADDRESSES } from '../services/composition/default-addresses.ts'
import type { StoreAddresses, Stores } from '../services/composition/open-stores.ts'
import { StoreError } from '../support/errors.ts'
import { onStopSignal, type StopRequest } from '../support/lifecycle.ts'
import { type CopyJob, copyPaths } from '../transfer/copy-paths.ts'
import { castoreJob, localNixJob } from '../transfer/copy-sources.ts'
import { TreeCopier } from '../transfer/copy-tree.ts'
import { localNarCalculation } from '../transfer/nar-calculation.ts'
import { type CopyPlan, planAll, planClosure, planGraph } from '../transfer/plan-copy.ts'
import { CopyProgress } from './copy-progress.ts'
import { isSwitchedOn } from './environment.ts'
import { inputName, readInput } from './input.ts'
import { localStorePath, queryLocalNix } from './local-nix.ts'
import { readGraph } from './read-graph.ts'
import {
  addStoreOptions,
  openCommandStores,
  openStoresToRead,
  type StoreOptions,
  storeAddresses,
} from './store-options.ts'
import { parseStorePath } from './store-path-argument.ts'
import { finishUploads } from './uploads.ts'

interface CopyOptions extends StoreOptions {
  readonly from?: string
  readonly fromBlobServiceAddr?: string
  readonly fromDirectoryServiceAddr?: string
  readonly fromPathInfoServiceAddr?: string
  readonly to?: string
  readonly all: boolean
  readonly jsonl: boolean
  readonly root: string
  readonly json: boolean
}

const HELP = `
Copies store paths with everything they refer to; what the destination has is skipped, so a copy
that was broken off goes on where it was. A path becomes visible after its references, and after
the hash of its NAR was checked.

Without --from the argument is a reference graph: a file, a unix socket or - for standard input,
as Nix writes it for exportReferencesGraph or \`nix path-info --json --recursive\`. The contents
are read from ${STORE_DIR}.

Examples:
  $ tvix-store copy "$NIX_ATTRS_JSON_FILE"
  $ nix path-info --json --recursive ./result | tvix-store copy -
  $ tvix-store copy --from local ./result
  $ tvix-store copy --from local --all --to grpc+http://store.example.org:8000
  $ tvix-store copy --from grpc+http://store.example.org:8000 ${STORE_DIR}/<hash>-<name>`

export function addCopyCommand(program: Command): void {
  const command = program
    .command('copy')
    .argument('[what...]', 'a reference graph; with --from: store paths')
    .description('Copy store paths with their references from one store into another.')
    .option('--from <store>', `"local" for the Nix store of this machine, or the address of a store`)
    .option('--from-blob-service-addr <address>', 'where the blobs are, when not at --from')
    .option('--from-directory-service-addr <address>', 'where the directories are, when not at --from')
    .option('--from-path-info-service-addr <address>', 'where the path infos are, when not at --from')
    .option('--to <address>', 'the destination, when one address is all three of those below')
    .option('--all', 'everything that --from has', false)
    .option('--jsonl', 'the reference graph is one JSON object a line (JSONL=true)', isSwitchedOn('JSONL'))
    .option('--root <folder>', `where the file system begins that ${STORE_DIR} is part of`, '/')
    .option('--json', 'a summary as a JSON object on standard output', false)
    .addHelpText('after', HELP)
    .action(runCopy)
  addStoreOptions(command, CLIENT_ADDRESSES)
}

async function runCopy(what: string[], options: CopyOptions, command: Command): Promise<void> {
  const destination = destinationAddresses(options, command)
  const source = sourceOf(what, options, destination)
  await using to = await openCommandStores(command, destination)
  await using from = 'addresses' in source ? await openStoresToRead(command, source.addresses) : undefined
  const stop = onStopSignal()
  try {
    const copy = { to, options, stop, isNear: isNear(destination) }
    if (from) await copyFromStore(copy, from, what)
    else await copyFromNix(copy, await metadataFromNix(what, options, stop))
    await finishUploads(to, stop)
  } catch (error) {
    throw stop.signal.aborted
      ? new StoreError(
          'cancelled',
          'interrupted; nothing half-copied is visible, and the same command goes on',
        )
      : error
  }
}

interface Copy {
  readonly to: Stores
  readonly options: CopyOptions
  readonly stop: StopRequest
  /** Whether the destination's blobs are on this machine. */
  readonly isNear: boolean
}

async function copyFromStore(copy: Copy, from: Stores, what: readonly string[]): Promise<void> {
  const { to, options, stop } = copy
  const plan = options.all
    ? await planAll(from, to, stop)
    : await planClosure(from, to, what.map(parseStorePath), stop)
  await runPlan(copy, plan, (progress) => {
    const copier = new TreeCopier(from, to, { reuseChunks: copy.isNear, progress })
    return (pathInfo) => castoreJob(copier, pathInfo)
  })
}

async function copyFromNix(copy: Copy, graph: readonly PathMetadata[]): Promise<void> {
  const { to, options, stop } = copy
  const plan = await planGraph(to, graph, stop)
  const sizeFormula = (await to.askSizeFormula?.(stop)) ?? 'rust'
  const { root } = options
  await runPlan(copy, plan, (progress) => (path) => localNixJob(to, path, { root, sizeFormula, progress }))
}

async function runPlan<T extends PathMetadata>(
  { to, options, stop }: Copy,
  { missing, present }: CopyPlan<T>,
  jobsWith: (progress: CopyProgress) => (path: T) => CopyJob,
): Promise<void> {
  const progress = new CopyProgress(missing, present)
  try {
    const destination = { ...to, narCalculation: to.narCalculation ?? localNarCalculation(to) }
    await copyPaths(destination, missing.map(jobsWith(progress)), { signal: stop.signal, progress })
  } catch (error) {
    progress.stop()
    throw error
  }
  progress.finish()
  if (options.json) process.stdout.write(`${JSON.stringify(progress.summary)}\n`)
}

async function metadataFromNix(
  what: readonly string[],
  options: CopyOptions,
  stop: StopRequest,
): Promise<PathMetadata[]> {
  if (options.from === undefined) {
    const file = graphFile(what)
    return await readGraph(readInput(file, stop), { jsonl: options.jsonl, source: inputName(file) })
  }
  const paths = options.all ? 'all' : await Promise.all(what.map(localStorePath))
  return await queryLocalNix(options, paths, stop)
}

/** The one argument, or what a builder with structured attributes finds in its environment (spec §4.1). */
function graphFile(what: readonly string[]): string {
  const [file = process.env['NIX_ATTRS_JSON_FILE'], ...more] = what
  // The shell makes an empty argument of a variable that is not set.
  if (!file) throw usage('nothing to copy: give a reference graph, or --from and store paths (or --all)')
  if (more.length > 0)
    throw usage('one reference graph at a time; for store paths say where from: --from local')
  if (file !== '-' && statSync(file, { throwIfNoEntry: false })?.isDirectory())
    throw usage(`${file} is a folder and no reference graph; for store paths say where from: --from local`)
  return file
}

type CopySource = { readonly nix: true } | { readonly addresses: StoreAddresses }

function sourceOf(what: readonly string[], options: CopyOptions, destination: StoreAddresses): CopySource {
  const { from, all } = options
  if (from?.startsWith('nix+') && destination.composition !== undefined)
    throw usage(
      'what a binary cache gives cannot go into a composition: name the three addresses of the destination',
    )
  const isNix = from === 'local' || from === STORE_DIR
  const single = from !== undefined && !isNix ? from : undefined
  const parts = {
    blobs: options.fromBlobServiceAddr ?? substitutedInto(single, destination.blobs),
    directories: options.fromDirectoryServiceAddr ?? substitutedInto(single, destination.directories),
    pathInfos: options.fromPathInfoServiceAddr ?? single,
  }
  const isGraph = from === undefined && Object.values(parts).every((part) => part === undefined)
  if (isGraph && all) throw usage('--all needs --from')
  if (isGraph) return { nix: true }
  if (!all && what.length === 0) throw usage('name the store paths to copy, or say --all')
  if (all && what.length > 0) throw usage('either store paths or --all')
  if (isNix) return { nix: true }
  const { blobs, directories, pathInfos } = parts
  if (blobs === undefined || directories === undefined || pathInfos === undefined)
    throw usage(
      'say where the path infos, directories and blobs are: --from, or the three --from-…-service-addr',
    )
  return { addresses: { blobs, directories, pathInfos } }
}

/** A binary cache has no castore: what it substitutes has to go somewhere, and at once where it shall be. */
function substitutedInto(from: string | undefined, destination: string): string | undefined {
  return from?.startsWith('nix+') ? destination : from
}

function destinationAddresses(options: CopyOptions, command: Command): StoreAddresses {
  const { to } = options
  if (to === undefined) return storeAddresses(options)
  for (const name of ['blobServiceAddr', 'directoryServiceAddr', 'pathInfoServiceAddr'])
    if (command.getOptionValueSource(name) === 'cli')
      throw usage('either --to, or the three --…-service-addr of the destination')
  return { blobs: to, directories: to, pathInfos: to }
}

/** Reading a chunk there is then cheaper than reading it at the source. */
function isNear({ blobs }: StoreAddresses): boolean {
  return blobs.startsWith('objectstore+file:') || blobs.startsWith('packs:')
}

function usage(message: string): StoreError {
  return new StoreError('invalid-argument', message)
}
