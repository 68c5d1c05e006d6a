import { mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where what tests need (programs, kernels for guests) stays from run to run. */
export const TEST_CACHE =
  process.env['TVIX_STORE_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tvix-store-test')

/** Once before all tests: what the program under test caches for its user goes to a folder that ends with them. */
export function setup(): () => void {
  process.env['TVIX_STORE_TEST_CACHE'] = TEST_CACHE
  const folder = mkdtempSync(join(tmpdir(), 'tvix-store-test-cache-'))
  process.env['XDG_CACHE_HOME'] = folder
  return () => rmSync(folder, { recursive: true, force: true })
}
