import fs from 'node:fs'
import { promisify } from 'node:util'
import { type PacksAddon, packsAddon } from './native-packs.ts'

/**
 * The system calls that packs are written with. They are a table so that tests can record them, fail them one by one and
 * cut the power between them. They throw Node's system errors, or reject with them.
 */
export interface PacksOps {
  /** The names of the files in a folder. */
  list(folder: string): readonly string[]
  /** `flags` as for `fs.open`. */
  open(path: string, flags: string | number): number
  /** In bytes. */
  size(fd: number): number
  read(fd: number, length: number): Buffer
  /** Resolves with the number of bytes written, perhaps fewer than given. */
  write(fd: number, bytes: Uint8Array, position: number): Promise<number>
  /** Contents and size are durable when it resolves. */
  sync(fd: number): Promise<void>
  /** The names in it are durable when it resolves. */
  syncFolder(folder: string): Promise<void>
  close(fd: number): void
  /** What JavaScript cannot do, or not fast; `undefined` where it was not built. */
  readonly addon: PacksAddon | undefined
}

const write = promisify(fs.write) as unknown as (
  fd: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesWritten: number }>
const fsync = promisify(fs.fsync)

const nodeOps: Omit<PacksOps, 'addon'> = {
  list: fs.readdirSync,
  open: fs.openSync,
  size: (fd) => fs.fstatSync(fd).size,
  read(fd, length) {
    const bytes = Buffer.alloc(length)
    return bytes.subarray(0, fs.readSync(fd, bytes, 0, length, 0))
  },
  write: async (fd, bytes, position) => (await write(fd, bytes, 0, bytes.length, position)).bytesWritten,
  sync: promisify(fs.fdatasync),
  async syncFolder(folder) {
    const fd = fs.openSync(folder, 'r')
    try {
      await fsync(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
  close: fs.closeSync,
}

export async function nodePacksOps(): Promise<PacksOps> {
  return { ...nodeOps, addon: await packsAddon() }
}
