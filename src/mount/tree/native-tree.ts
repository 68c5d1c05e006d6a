import { loadAddon } from '../../support/addon.ts'
import type { InodeTables } from './inode-tables.ts'

/** How `listEntries` ended: all are there, no more fit, or the tables have no room for another inode. */
export const LIST_STATUS = { end: 0, full: 1, noRoom: 2 } as const

/** What `listEntries` is told and tells, by place in an array of numbers; as `enum page_field` of native/tree.c. */
export const PAGE = {
  position: 0,
  used: 1,
  limit: 2,
  recordsUsed: 3,
  /** Bytes of the files of those records. */
  recordsContents: 4,
  recordFileMax: 5,
  uid: 6,
  gid: 7,
  fields: 8,
} as const

/** native/tree.c: loops over the entries of directories; `parent` is the inode number of the directory. `undefined` where a directory is asked of an inode that is none (any more). */
export interface NativeTree {
  /** The index of a canonical encoding; `undefined` for anything else, and for one with another digest. */
  openDirectory(encoded: Uint8Array, digest: Uint8Array): Uint32Array | undefined
  /** The inode under a name, without a reference; 0 when there is none, -1 when there is no room for one. */
  lookupEntry(
    tables: InodeTables,
    encoded: Uint8Array,
    index: Uint32Array,
    parent: number,
    name: Uint8Array,
  ): number | undefined
  /** Writes entries of READDIRPLUS, each with a reference, and a `FILL_RECORD` for each small file. */
  listEntries(
    tables: InodeTables,
    encoded: Uint8Array,
    index: Uint32Array,
    parent: number,
    into: Uint8Array,
    records: Uint8Array,
    page: Float64Array,
  ): number | undefined
  /** The inode of the directory listed next after the one at a position, of the first one for -1; 0 when none is known. */
  directoryAfter(
    tables: InodeTables,
    encoded: Uint8Array,
    index: Uint32Array,
    parent: number,
    position: number,
  ): number | undefined
}

let loaded: NativeTree | undefined | null = null

/** `undefined` where the addon was not built: everything works without it, only slower. */
export function nativeTree(): NativeTree | undefined {
  if (loaded === null) loaded = load()
  return loaded
}

function load(): NativeTree | undefined {
  try {
    return loadAddon('tree') as NativeTree
  } catch {
    return undefined
  }
}
