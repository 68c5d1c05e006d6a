import { isUtf8 } from 'node:buffer'
import { printable, utf8, view } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { checkStorePathName } from './store-path.ts'

const SLASH = '/'

/**
 * The name that a path on disk gets in the store: its last component, where empty and `.` components do not
 * count (spec §4.1). Throws ValidationError `InvalidImportName` for a path without one, or whose last component
 * is `..` or not UTF-8, and `InvalidLength` or `InvalidName` for a name that no store path may have, so that the
 * answer does not come after an hour of ingestion.
 */
export function importName(path: string | Uint8Array): string {
  const bytes = typeof path === 'string' ? utf8(path) : path
  if (!isUtf8(bytes)) throw invalid(bytes, 'it is not UTF-8')
  const components = view(bytes)
    .toString('utf8')
    .split(SLASH)
    .filter((component) => component !== '' && component !== '.')
  const name = components.at(-1)
  if (name === undefined || name === '..')
    throw invalid(bytes, 'its last component is not a name; name the file or folder itself')
  checkStorePathName(name)
  return name
}

function invalid(path: Uint8Array, why: string): ValidationError {
  return new ValidationError('InvalidImportName', `${printable(path)}: no name for the store: ${why}`)
}
