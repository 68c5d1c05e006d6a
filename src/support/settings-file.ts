import { readFileSync } from 'node:fs'
import { StoreError, systemCode } from './errors.ts'

/** A small file that settings name, such as a key. Throws `not-found`, `denied` or `invalid-argument`, naming the file. */
export function readSettingsFile(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    const code = systemCode(error)
    const kind = code === 'ENOENT' ? 'not-found' : code === 'EACCES' ? 'denied' : 'invalid-argument'
    throw new StoreError(kind, `cannot read ${path}: ${(error as Error).message}`, { cause: error })
  }
}
