import { basename } from 'node:path'
import { Command, CommanderError, Help, type Option } from 'commander'
import { endProcess } from '../support/end-process.ts'
import { ERROR_TABLE, StoreError } from '../support/errors.ts'
import { VERSION } from '../support/version.ts'
import { type Calling, callingOf, inCalledName } from './called-as.ts'
import { type CommandLoaders, loadersOf } from './command-loaders.ts'
import { addLoggingOptions, warnOfTracers, withoutOtlp } from './logging.ts'
import { watchOutput } from './output.ts'

/** Each is loaded when it is named: a command should not wait for what the others are made of. */
const COMMANDS: CommandLoaders = {
  daemon: async () => (await import('./daemon.ts')).addDaemonCommand,
  mount: async () => (await import('./mount.ts')).addMountCommand,
  virtiofs: async () => (await import('./virtiofs.ts')).addVirtiofsCommand,
  'nar-bridge': async () => (await import('./nar-bridge.ts')).addNarBridgeCommand,
  import: async () => (await import('./import.ts')).addImportCommand,
  'import-nar': async () => (await import('./import-nar.ts')).addImportNarCommand,
  castore: async () => (await import('./castore/castore.ts')).addCastoreCommand,
  copy: async () => (await import('./copy.ts')).addCopyCommand,
  ls: async () => (await import('./ls.ts')).addLsCommand,
  cat: async () => (await import('./cat.ts')).addCatCommand,
  'path-info': async () => (await import('./path-info.ts')).addPathInfoCommand,
  'export-nar': async () => (await import('./export-nar.ts')).addExportNarCommand,
  key: async () => (await import('./key.ts')).addKeyCommand,
  config: async () => (await import('./config.ts')).addConfigCommand,
}

/** The command among the arguments, or all of them where none is named: for help, and for what is misspelt. */
function loaders(args: readonly string[]) {
  if (args.includes('--version')) return []
  return loadersOf(COMMANDS, args)
}

async function runProgram(calling: Calling): Promise<void> {
  const program = new Command('tvix-store')
    .description('A content-addressed store for Nix store paths.')
    .version(VERSION)
    .configureHelp({ optionDescription: describeOption })
    .configureOutput({
      writeOut: (text) => void process.stdout.write(inCalledName(calling, text)),
      writeErr: (text) => void process.stderr.write(inCalledName(calling, text)),
    })
    .showHelpAfterError('(--help tells more)')
    // Commands inherit it: what commander finds wrong ends with the exit code of the error table, too.
    .exitOverride()
    .hook('preAction', (_, command) => warnOfTracers(command))
  addLoggingOptions(program)
  const { command } = calling
  const args = withoutOtlp(command === undefined ? calling.args : [...command.split(' '), ...calling.args])
  for (const load of loaders(args)) await (await load())(program, args)
  await program.parseAsync(args, { from: 'user' })
}

/** That a switch is off when nobody switches it on needs no words. */
function describeOption(this: Help, option: Option): string {
  return option.isBoolean() ? option.description : Help.prototype.optionDescription.call(this, option)
}

/** What commander throws is told to the user already; help and version are no failure. */
function exitCodeOf(error: unknown, name: string): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ERROR_TABLE['invalid-argument'].exit
  const failure = StoreError.from(error)
  process.stderr.write(`${name}: ${failure.message}\n`)
  const trace = failure.code === 'internal' && traceOf(error)
  if (trace) process.stderr.write(`${trace}\n`)
  return ERROR_TABLE[failure.code].exit
}

/** Where something went wrong in this program. What a peer calls an internal error has no trace, and ours of it would mislead. */
function traceOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if (error.cause instanceof Error) return traceOf(error.cause)
  return error.stack?.includes('\n    at ') ? error.stack : undefined
}

async function main(): Promise<void> {
  const outputFailure = watchOutput()
  let exitCode = 0
  let name = basename(process.argv[1] ?? '')
  try {
    const calling = callingOf(process.argv)
    name = calling.name
    await runProgram(calling)
  } catch (error) {
    exitCode = exitCodeOf(error, name)
  }
  const unwritten = await outputFailure()
  if (unwritten && exitCode === 0) exitCode = exitCodeOf(unwritten, name)
  // Whatever a library still holds open (a socket in keepalive, a timer) is no reason to stay.
  endProcess(exitCode)
}

void main()
