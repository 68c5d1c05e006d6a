import { printable } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { TREE_DEPTH_MAX } from '../../support/limits.ts'
import { type PathComponent, pathComponentFault } from '../castore/path-component.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { TarPath } from './event.ts'

const SLASH = 0x2f
const DOT = 0x2e

/**
 * The path of an entry (spec §8.3): without `.` and empty parts, `..` resolved by the text. Throws ValidationError for an absolute
 * path, one that leads out of the archive, and names that no directory can have; `exhausted` for one that is too deep.
 */
export function tarPath(written: Uint8Array): TarPath {
  if (written[0] === SLASH) throw fault(written, 'it is absolute')
  const path: PathComponent[] = []
  for (let start = 0; start <= written.length; ) {
    const slash = written.indexOf(SLASH, start)
    const end = slash < 0 ? written.length : slash
    const part = written.slice(start, end)
    start = end + 1
    if (part.length === 0 || (part.length === 1 && part[0] === DOT)) continue
    const isParent = part.length === 2 && part[0] === DOT && part[1] === DOT
    if (!isParent) path.push(component(written, part))
    else if (path.pop() === undefined) throw fault(written, 'it leads out of the archive')
    if (path.length > TREE_DEPTH_MAX)
      throw new StoreError('exhausted', `tar: a path of more than ${TREE_DEPTH_MAX} nested directories`)
  }
  return path
}

function component(written: Uint8Array, part: Uint8Array): PathComponent {
  const found = pathComponentFault(part)
  if (found) throw fault(written, `a name in it ${found.message}`)
  return part as PathComponent
}

function fault(written: Uint8Array, why: string): ValidationError {
  return new ValidationError('InvalidPath', `tar: unable to convert path "${printable(written)}": ${why}`)
}
