import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { TEST_CACHE } from './caches.ts'
import { run } from './cli.ts'
import { hasProgram } from './requirements.ts'

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
