/**
 * The memory of an InodeTable as native/inode_table.c takes it: its columns in the order of InodeColumns, buckets, counters,
 * bytes of files, targets.
 */
export type InodeTables = readonly (Uint8Array | Uint32Array | Float64Array | BigUint64Array)[]
