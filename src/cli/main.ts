#!/usr/bin/env -S node --max-semi-space-size=8 --disable-warning=DEP0123
// By default V8 lets garbage grow to 200 MB before it looks at it; what we keep is a fraction of that.
import { Command, CommanderError } from 'commander'
import { ERROR_TABLE, StoreError } from '../support/errors.ts'
import { VERSION } from '../support/version.ts'
import { addCatCommand } from './cat.ts'
import { addConfigCommand } from './config.ts'
import { addCopyCommand } from './copy.ts'
import { addDaemonCommand } from './daemon.ts'
import { addExportNarCommand } from './export-nar.ts'
import { addImportCommand } from './import.ts'
import { addImportNarCommand } from './import-nar.ts'
import { addKeyCommand } from './key.ts'
import { addLoggingOptions } from './logging.ts'
import { addLsCommand } from './ls.ts'
import { addMountCommand } from './mount.ts'
import { addNarBridgeCommand } from './nar-bridge.ts'
import { addPathInfoCommand } from './path-info.ts'

const program = new Command('tvix-store')
  .description('A content-addressed store for Nix store paths.')
  .version(VERSION)
  .showHelpAfterError('(--help tells more)')
  // Commands inherit it: what commander finds wrong ends with the exit code of the error table, too.
  .exitOverride()
addLoggingOptions(program)
addConfigCommand(program)
addDaemonCommand(program)
addImportCommand(program)
addMountCommand(program)
addImportNarCommand(program)
addCopyCommand(program)
addLsCommand(program)
addCatCommand(program)
addPathInfoCommand(program)
addExportNarCommand(program)
addKeyCommand(program)
addNarBridgeCommand(program)

/** What commander throws is told to the user already; help and version are no failure. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ERROR_TABLE['invalid-argument'].exit
  const failure = StoreError.from(error)
  process.stderr.write(`tvix-store: ${failure.message}\n`)
  if (failure.code === 'internal') process.stderr.write(`${(error as Error).stack}\n`)
  return ERROR_TABLE[failure.code].exit
}

let exitCode = 0
try {
  await program.parseAsync()
} catch (error) {
  exitCode = exitCodeOf(error)
}
// Whatever a library still holds open (a socket in keepalive, a timer) is no reason to stay.
process.exit(exitCode)
