import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeFlags } from './cli.ts'

const ROOT = join(import.meta.dirname, '../..')

/**
 * Builds the program below `folder`, beside whatever else is built of this checkout meanwhile, and gives the path that runs it. Tests run
 * what is published: it starts in a third of the processor time that the sources take, and they start it thousands of times.
 */
export function buildProgram(folder: string): string {
  // Some tests run it as other users.
  chmodSync(folder, 0o755)
  for (const part of ['src', 'scripts', 'package.json'])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  for (const part of ['native', 'node_modules']) symlinkSync(join(ROOT, part), join(folder, part))
  execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: folder })
  const program = join(folder, 'tvix-store')
  const command = [process.execPath, ...nodeFlags(), join(folder, 'dist/cli/main.js')]
  writeFileSync(program, `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(' ')} "$@"\n`, {
    mode: 0o755,
  })
  return program
}
