import { mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildProgram } from './built-program.ts'

/** Where what tests need (programs, kernels for guests) stays from run to run. */
export const TEST_CACHE =
  process.env['TVIX_STORE_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tvix-store-test')

/**
 * Once before all tests: the program under test is built, and what it caches for its user goes to a folder that ends with them.
 */
export function setup(): () => void {
  process.env['TVIX_STORE_TEST_CACHE'] = TEST_CACHE
  const folder = mkdtempSync(join(tmpdir(), 'tvix-store-test-cache-'))
  process.env['XDG_CACHE_HOME'] = folder
  const program = mkdtempSync(join(tmpdir(), 'tvix-store-test-program-'))
  process.env['TVIX_STORE_TEST_PROGRAM'] = buildProgram(program)
  return () => {
    for (const path of [folder, program]) rmSync(path, { recursive: true, force: true })
  }
}
