import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { run } from './cli.ts'
import { hasProgram } from './requirements.ts'

/** Where programs built for tests stay from run to run. */
export const TEST_CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tvix-store-test')
const BIN = join(TEST_CACHE, 'bin')

export type TestProgram = { readonly path: string } | { readonly missing: string }

/** Builds a Go program unless it was built before; says why where that cannot be. */
export async function goProgram(name: string, module: string): Promise<TestProgram> {
  const path = join(BIN, name)
  if (existsSync(path)) return { path }
  if (!hasProgram('go')) return { missing: `${name} needs go, which is not installed` }
  const { code, stderr } = await run('go', ['install', module], { GOBIN: BIN })
  if (code === 0) return { path }
  return { missing: `go install ${module}: ${stderr.trim().split('\n').at(-1)}` }
}
