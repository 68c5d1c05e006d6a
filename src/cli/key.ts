import { rm, writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { SigningKey } from '../model/nix/signing-key.ts'
import { concatBytes, view } from '../support/bytes.ts'
import { StoreError, systemCode } from '../support/errors.ts'
import { readInput } from './input.ts'
import { outputError } from './output.ts'

const HELP = `
Examples:
  $ tvix-store key generate cache.example.org-1 --output secret.key --public public.key
  $ tvix-store key public secret.key`

const KEY_BYTES_MAX = 4096

export function addKeyCommand(program: Command): void {
  const key = program
    .command('key')
    .description('Make keys that sign store paths, in the form that Nix has.')
    .addHelpText('after', HELP)
  key
    .command('generate')
    .argument('<name>', 'letters, digits, "." and "-"; by custom the host name and a number')
    .description('Make a key and write its secret half to standard output or a file.')
    .option('-o, --output <file>', 'a new file that only its owner can read, for the secret half')
    .option('--public <file>', 'a new file for the public half')
    .addHelpText('after', '\nExample:\n  $ tvix-store key generate cache.example.org-1 --output secret.key')
    .action(generate)
  key
    .command('public')
    .argument('[file]', 'with a secret key; standard input unless given', '-')
    .description('Write the public half of a secret key, as `trusted-public-keys` takes it.')
    .addHelpText('after', '\nExample:\n  $ tvix-store key public secret.key')
    .action(printPublic)
}

async function generate(name: string, options: { output?: string; public?: string }): Promise<void> {
  const { secret, key } = SigningKey.generate(name)
  if (options.output === undefined) process.stdout.write(`${secret}\n`)
  else await writeNew(options.output, secret, 0o400)
  if (options.public !== undefined) await writePublic(options.public, key, options.output)
}

/** Without its public half the secret one is of no use, and would be in the way of the next try. */
async function writePublic(path: string, key: SigningKey, secretPath: string | undefined): Promise<void> {
  try {
    await writeNew(path, key.verifyingKey.toString(), 0o444)
  } catch (error) {
    if (secretPath !== undefined) await rm(secretPath, { force: true })
    throw error
  }
}

async function printPublic(file: string): Promise<void> {
  const pieces: Uint8Array[] = []
  for await (const piece of readInput(file)) {
    pieces.push(piece)
    if (concatBytes(pieces).length > KEY_BYTES_MAX)
      throw new StoreError('invalid-argument', `${file} is not a key`)
  }
  const key = SigningKey.parse(view(concatBytes(pieces)).toString('utf8').trim())
  process.stdout.write(`${key.verifyingKey}\n`)
}

/** Never over another key: what was signed with it would lose its meaning. */
async function writeNew(path: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(path, `${text}\n`, { flag: 'wx', mode })
  } catch (error) {
    if (systemCode(error) === 'EEXIST')
      throw new StoreError(
        'precondition',
        `${path} exists, and keys are not overwritten; choose another file`,
      )
    throw outputError(path, error)
  }
}
