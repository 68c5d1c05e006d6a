#!/usr/bin/env node
import { Command } from 'commander'
import { ERROR_TABLE, StoreError } from '../support/errors.ts'
import { addDaemonCommand } from './daemon.ts'
import { addImportCommand } from './import.ts'
import { addLoggingOptions } from './logging.ts'
import { addMountCommand } from './mount.ts'
import { VERSION } from './version.ts'

const program = new Command('tvix-store')
  .description('A content-addressed store for Nix store paths.')
  .version(VERSION)
  .showHelpAfterError()
addLoggingOptions(program)
addDaemonCommand(program)
addImportCommand(program)
addMountCommand(program)

try {
  await program.parseAsync()
  // Whatever a library still holds open (a socket in keepalive, a timer) is no reason to stay.
  process.exit(0)
} catch (error) {
  const failure = StoreError.from(error)
  process.stderr.write(`tvix-store: ${failure.message}\n`)
  if (failure.code === 'internal') process.stderr.write(`${(error as Error).stack}\n`)
  process.exit(ERROR_TABLE[failure.code].exit)
}
