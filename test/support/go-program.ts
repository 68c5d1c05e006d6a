import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TEST_CACHE } from './caches.ts'
import { run } from './cli.ts'
import { hasProgram } from './requirements.ts'
import { tempDir } from './temp-dir.ts'

const BIN = join(TEST_CACHE, 'bin')

export type TestProgram = { readonly path: string } | { readonly missing: string }

/**
 * Builds the Go program in a folder of `module@version` unless it was built before; says why where that cannot be.
 *
 * It is built as what a module of ours requires: `go install` would also ask for the list of all versions, to learn
 * whether this one is deprecated, and not every proxy has that list (evans is such a case).
 */
export async function goProgram(name: string, module: string, folder = ''): Promise<TestProgram> {
  const path = join(BIN, name)
  if (existsSync(path)) return { path }
  if (!hasProgram('go')) return { missing: `${name} needs go, which is not installed` }
  const [modulePath, version] = module.split('@') as [string, string]
  await using dir = await tempDir()
  await writeFile(join(dir.path, 'go.mod'), `module program\n\ngo 1.22\n\nrequire ${modulePath} ${version}\n`)
  const args = ['-C', dir.path, 'build', '-mod=mod', '-o', path, join(modulePath, folder)]
  const { code, stderr } = await run('go', args)
  if (code === 0) return { path }
  return { missing: `go build ${module}: ${stderr.trim().split('\n').at(-1)}` }
}
