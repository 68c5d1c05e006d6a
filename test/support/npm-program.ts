import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TEST_CACHE } from './caches.ts'
import { run } from './cli.ts'
import type { TestProgram } from './go-program.ts'

/**
 * Installs a program of the npm registry beside those built for tests, unless it was before; says why where that
 * cannot be. Not among our own packages: it would bring hundreds of others into everybody's checkout.
 */
export async function npmProgram(name: string, versioned: string): Promise<TestProgram> {
  const folder = join(TEST_CACHE, versioned)
  const path = join(folder, 'node_modules/.bin', name)
  if (existsSync(path)) return { path }
  await mkdir(folder, { recursive: true })
  const flags = ['--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error']
  const { code, stderr } = await run('npm', ['install', ...flags, versioned])
  if (code === 0) return { path }
  return { missing: `npm install ${versioned}: ${stderr.trim().split('\n').at(-1)}` }
}
