import type { PathInfo } from '../../model/nix/path-info.ts'
import { decodePathInfo } from '../../model/wire/path-info.ts'
import { hex } from '../../support/bytes.ts'
import { StoreError, withContext } from '../../support/errors.ts'

/** A path info out of storage. What does not decode there is the storage's fault: `corrupt`. */
export function decodeStoredPathInfo(bytes: Uint8Array, key: Uint8Array, source: string): PathInfo {
  try {
    return decodePathInfo(bytes)
  } catch (error) {
    const { message } = withContext(`${source}: path info ${hex(key)} does not decode`, error)
    throw new StoreError('corrupt', message, { cause: error })
  }
}
