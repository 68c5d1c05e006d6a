import { SYMLINK_TARGET_BYTES_MAX } from '../../support/limits.ts'
import { ValidationError } from './validation-error.ts'

declare const checked: unique symbol
/** Where a symlink points: 1 to 4095 bytes without NUL; relative, absolute or dangling alike. */
export type SymlinkTarget = Uint8Array & { readonly [checked]: 'SymlinkTarget' }

/** The rule of spec §1.8 that `bytes` breaks first, with its message; `undefined` when it is a valid target. */
export function symlinkTargetFault(bytes: Uint8Array): { variant: string; message: string } | undefined {
  if (bytes.length === 0) return { variant: 'Empty', message: 'cannot be empty' }
  if (bytes.length > SYMLINK_TARGET_BYTES_MAX)
    return { variant: 'TooLong', message: `cannot be over ${SYMLINK_TARGET_BYTES_MAX} bytes long` }
  if (bytes.includes(0)) return { variant: 'Null', message: 'cannot contain null bytes' }
  return undefined
}

/** Checks a symlink target. Throws ValidationError `InvalidSymlinkTarget(<rule>)`. */
export function symlinkTarget(bytes: Uint8Array): SymlinkTarget {
  const fault = symlinkTargetFault(bytes)
  if (fault)
    throw new ValidationError(
      `InvalidSymlinkTarget(${fault.variant})`,
      `Invalid symlink target: ${fault.message}`,
    )
  return bytes as SymlinkTarget
}
