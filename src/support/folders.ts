import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCode } from './errors.ts'

/**
 * Creates a folder and those above it; returns the ones that were missing, topmost first. Throws the system's error
 * for the topmost that cannot be created.
 *
 * Not `mkdir` with `recursive`: where a folder says ENOENT although its parent is there (below /proc), that never
 * returns.
 */
export async function createFolders(path: string): Promise<string[]> {
  const missing: string[] = []
  for (let folder = path; !(await exists(folder)); folder = dirname(folder)) missing.unshift(folder)
  for (const folder of missing) await mkdir(folder).catch(unlessThere)
  return missing
}

async function exists(folder: string): Promise<boolean> {
  try {
    await stat(folder)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

function unlessThere(error: unknown): void {
  if (systemCode(error) !== 'EEXIST') throw error
}
