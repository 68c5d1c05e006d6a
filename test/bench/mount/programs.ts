import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { nodeFlags } from '../../support/cli.ts'

const ROOT = join(import.meta.dirname, '../../..')
const NODE = [process.execPath, ...nodeFlags()]

let built: readonly string[] | undefined

/** The program as it is published, which starts faster than the sources. */
export function builtTvixStore(): readonly string[] {
  if (!built) run(['node'], [join(ROOT, 'scripts/build.mjs')])
  built ??= [...NODE, join(ROOT, 'dist/cli/main.js')]
  return built
}

/** The same without the addon for directories, in `folder`: JavaScript alone answers LOOKUP and READDIRPLUS. */
export function tvixStoreInJavaScript(folder: string): readonly string[] {
  builtTvixStore()
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'native'), { recursive: true })
  for (const part of ['dist', 'package.json', 'native/build'])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  rmSync(join(folder, 'native/build/tree.node'))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return [...NODE, join(folder, 'dist/cli/main.js')]
}

/** Runs a program to its end; its standard output. */
export function run([program = '', ...first]: readonly string[], args: readonly string[]): string {
  const options = { cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 26 } as const
  return execFileSync(program, [...first, ...args], { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
}
