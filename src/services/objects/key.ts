import { StoreError } from '../../support/errors.ts'

const KEY = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/

/**
 * Whether `key` is a key as the interface defines it, with no part that begins with a dot: such names are the
 * stores' own (temp files), and `..` would lead out of them.
 */
export function isKey(key: string): boolean {
  return KEY.test(key)
}

/** Throws `internal`: keys come from our own code, so a bad one is a bug. */
export function checkKey(key: string): void {
  if (!isKey(key)) throw new StoreError('internal', `${JSON.stringify(key)} is no object key`)
}
