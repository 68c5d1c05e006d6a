import {
  MOUNT_CHUNK_CACHE_BYTES,
  MOUNT_CHUNK_LISTS_MAX,
  MOUNT_DIRECTORY_CACHE_ENTRIES,
  MOUNT_FETCH_BYTES_MAX,
  MOUNT_FETCHES_MAX,
  MOUNT_ROOT_NAMES_MAX,
  PROFILE_BYTES_MAX,
} from '../../support/limits.ts'

/** What the tree may keep and do at once; see the limits of the same meaning in support/limits.ts. */
export interface TreeLimits {
  readonly chunkCacheBytes: number
  readonly chunkListsMax: number
  readonly directoryCacheEntries: number
  readonly fetchesMax: number
  readonly fetchBytesMax: number
  readonly rootNamesMax: number
  readonly profileBytesMax: number
}

export const DEFAULT_LIMITS: TreeLimits = {
  chunkCacheBytes: MOUNT_CHUNK_CACHE_BYTES,
  chunkListsMax: MOUNT_CHUNK_LISTS_MAX,
  directoryCacheEntries: MOUNT_DIRECTORY_CACHE_ENTRIES,
  fetchesMax: MOUNT_FETCHES_MAX,
  fetchBytesMax: MOUNT_FETCH_BYTES_MAX,
  rootNamesMax: MOUNT_ROOT_NAMES_MAX,
  profileBytesMax: PROFILE_BYTES_MAX,
}
