import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { dirname, join } from 'node:path'
import { systemCode } from '../../support/errors.ts'
import { createFolders } from '../../support/folders.ts'
import { TEMP_FILE_STALE_MS } from '../../support/limits.ts'
import { DiskSync } from './disk-sync.ts'
import { fileError, ignoreAbsent, saysAbsent } from './file-error.ts'
import type { FileOps } from './file-ops.ts'

/** Below the root, where no key can point. */
export const TEMP_FOLDER = '.tmp'

/** A name that nobody has. */
export function newTempPath(root: string): string {
  return join(root, TEMP_FOLDER, randomUUID())
}

/** Creates the root of a store, durably, or removes what killed processes left in it. */
export async function prepareRoot(root: string, ops: FileOps): Promise<void> {
  await createRoot(root, ops)
  await removeStaleTempFiles(join(root, TEMP_FOLDER), ops)
}

async function createRoot(root: string, ops: FileOps): Promise<void> {
  try {
    const created = await createFolders(root)
    const sync = new DiskSync(root, ops, false)
    for (const folder of created) await sync.folder(dirname(folder))
  } catch (error) {
    throw fileError(`creating ${root}`, error)
  }
}

async function removeStaleTempFiles(folder: string, ops: FileOps): Promise<void> {
  try {
    for (const name of await fs.promises.readdir(folder)) {
      const path = join(folder, name)
      const stats = await fs.promises.stat(path).catch(ignoreAbsent)
      if (stats && stats.mtimeMs < Date.now() - TEMP_FILE_STALE_MS) await ops.unlink(path).catch(ignoreAbsent)
    }
  } catch (error) {
    // A store that we may not write to is not ours to clean, and can be read all the same.
    if (saysAbsent(error) || ['EROFS', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return
    throw fileError(`removing what killed processes left in ${folder}`, error)
  }
}
