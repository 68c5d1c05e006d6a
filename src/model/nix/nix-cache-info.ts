import { view } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { STORE_DIR } from './store-path.ts'

/** What a binary cache says of itself at `nix-cache-info` (spec §7.1). */
export interface NixCacheInfo {
  readonly storeDir: string
  /** Caches with a lower one are asked first. */
  readonly priority: number
}

/** As Nix has it for caches that name none. */
const DEFAULT_CACHE_PRIORITY = 50

/**
 * Reads `nix-cache-info`, as leniently as Nix does: lines without a colon and unknown names are passed over. Throws
 * ValidationError `InvalidPriority`.
 */
export function parseNixCacheInfo(document: Uint8Array): NixCacheInfo {
  let storeDir: string = STORE_DIR
  let priority = DEFAULT_CACHE_PRIORITY
  for (const line of view(document).toString('utf8').split('\n')) {
    const [, name, value = ''] = /^([^:]*): *(.*?)\s*$/.exec(line) ?? []
    if (name === 'StoreDir') storeDir = value
    else if (name === 'Priority') priority = parsePriority(value)
  }
  return { storeDir, priority }
}

function parsePriority(text: string): number {
  if (!/^-?[0-9]{1,9}$/.test(text))
    throw new ValidationError('InvalidPriority', 'nix-cache-info: Priority is not a number')
  return Number(text)
}
