import { NAME_BYTES_MAX } from '../../support/limits.ts'
import { ValidationError } from './validation-error.ts'

declare const checked: unique symbol
/** The name of one directory entry: 1 to 255 bytes, any but NUL and `/`, and neither `.` nor `..`. */
export type PathComponent = Uint8Array & { readonly [checked]: 'PathComponent' }

const DOT = 0x2e
const SLASH = 0x2f

/** The rule of spec §1.8 that `bytes` breaks first, with its message; `undefined` when it is a valid name. */
export function pathComponentFault(bytes: Uint8Array): { variant: string; message: string } | undefined {
  if (bytes.length === 0) return { variant: 'Empty', message: 'cannot be empty' }
  if (bytes[0] === DOT) {
    if (bytes.length === 2 && bytes[1] === DOT) return { variant: 'Parent', message: "cannot be '..'" }
    if (bytes.length === 1) return { variant: 'CurDir', message: "cannot be '.'" }
  }
  if (bytes.length > NAME_BYTES_MAX)
    return { variant: 'TooLong', message: `cannot be over ${NAME_BYTES_MAX} bytes long` }
  // One loop over all: a name is checked for every entry of a tree, and `includes` takes ten times as long.
  let hasSlash = false
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === 0) return { variant: 'Null', message: 'cannot contain null bytes' }
    if (bytes[i] === SLASH) hasSlash = true
  }
  return hasSlash ? { variant: 'Slashes', message: 'cannot contain slashes' } : undefined
}

/** Checks a name. Throws ValidationError `InvalidName(<rule>)`. */
export function pathComponent(bytes: Uint8Array): PathComponent {
  const fault = pathComponentFault(bytes)
  if (fault) throw new ValidationError(`InvalidName(${fault.variant})`, `Invalid name: ${fault.message}`)
  return bytes as PathComponent
}
