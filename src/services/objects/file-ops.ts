import fs from 'node:fs'
import { promisify } from 'node:util'
import { systemError } from '../../support/system-error.ts'
import { type FileBatches, nativeFileBatches } from './native-files.ts'
import { nativeSync, SYNCED_FILE_SYSTEMS, syncReportsFailures } from './native-sync.ts'

/**
 * The system calls a file object store writes with. They are a table so that tests can record them, fail them
 * one by one and cut the power between them. All reject with Node's system errors, or throw them.
 *
 * What may wait for a disk goes to the thread pool. Two calls do not, and are made on the spot, which costs a tenth:
 * closing what has been synced, and opening a folder whose entries have just been changed, so that it is in memory.
 */
export interface FileOps {
  mkdir(path: string): Promise<void>
  /** `flags` as for `fs.open`. Resolves with a file descriptor. */
  open(path: string, flags: string): Promise<number>
  /** Resolves with the number of bytes written, perhaps fewer than given. */
  write(fd: number, bytes: Uint8Array, offset: number): Promise<number>
  fsync(fd: number): Promise<void>
  openFolder(path: string): number
  close(fd: number): void
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Whether `syncFileSystem` may take the place of fsync below this folder. */
  maySyncTogether(folder: string): Promise<boolean>
  /** syncfs(2): makes everything durable that was written to the file system of `fd`. */
  syncFileSystem(fd: number): Promise<void>
  /** Bytes that all programs have written and no disk has: the most that `syncFileSystem` would have to wait for. */
  unwrittenBytes(): number
  /** Several objects in one go; `undefined` where that is not to be had. */
  readonly batches: FileBatches | undefined
}

const write = promisify(fs.write) as unknown as (
  fd: number,
  bytes: Uint8Array,
  offset: number,
) => Promise<{ bytesWritten: number }>

/** The callback functions of `node:fs`: its promise interface costs several times as much a file. */
export const nodeFileOps: FileOps = {
  mkdir: promisify<string, void>(fs.mkdir),
  open: promisify<string, string, number>(fs.open),
  write: async (fd, bytes, offset) => (await write(fd, bytes, offset)).bytesWritten,
  fsync: promisify(fs.fsync),
  openFolder: (path) => fs.openSync(path, 'r'),
  close: fs.closeSync,
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  maySyncTogether,
  syncFileSystem,
  unwrittenBytes,
  get batches() {
    return nativeFileBatches()
  },
}

async function maySyncTogether(folder: string): Promise<boolean> {
  if (!nativeSync() || !syncReportsFailures()) return false
  const { type } = await fs.promises.statfs(folder)
  return SYNCED_FILE_SYSTEMS.has(type >>> 0)
}

async function syncFileSystem(fd: number): Promise<void> {
  const result = await nativeSync()!.syncFileSystem(fd)
  if (result !== 0) throw systemError(result, 'syncfs')
}

/** The kernel's own count; without one (no /proc) there is no telling. */
function unwrittenBytes(): number {
  try {
    const text = fs.readFileSync('/proc/meminfo', 'latin1')
    const kilobytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1])
    const bytes = 1024 * (kilobytes('Dirty') + kilobytes('Writeback'))
    return Number.isNaN(bytes) ? Number.POSITIVE_INFINITY : bytes
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
