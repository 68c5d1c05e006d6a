import { createRequire } from 'node:module'
import { StoreError } from '../../support/errors.ts'

/** Ends an operation: 0, a length or a negative errno, and the result if there is one. */
export type Done<T = unknown> = (outcome: number, value?: T) => void

/** What fuse-native calls; paths begin with a slash and are UTF-8. */
export interface LibfuseOperations {
  getattr(path: string, done: Done<LibfuseStat>): void
  /** Of `stats` the type of the file is used. */
  readdir(
    path: string,
    done: (outcome: number, names?: readonly string[], stats?: readonly Pick<LibfuseStat, 'mode'>[]) => void,
  ): void
  readlink(path: string, done: Done<string>): void
  open(path: string, flags: number, done: Done<number>): void
  read(path: string, fd: number, buffer: Buffer, length: number, offset: number, done: Done<never>): void
  statfs(path: string, done: Done<LibfuseStatfs>): void
  listxattr(path: string, done: Done<readonly string[]>): void
  getxattr(path: string, name: string, position: number, done: Done<Buffer>): void
}

export interface LibfuseStat {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly nlink: number
  readonly ino: number
  readonly blksize: number
  readonly blocks: number
  /** Milliseconds since 1970. */
  readonly atime: number
  readonly mtime: number
  readonly ctime: number
}

export interface LibfuseStatfs {
  readonly bsize: number
  readonly frsize: number
  readonly blocks: number
  readonly files: number
  readonly namemax: number
}

interface LibfuseMount {
  mount(done: (error: Error | null) => void): void
  unmount(done: (error: Error | null) => void): void
}

type Libfuse = new (
  target: string,
  operations: LibfuseOperations,
  options: Readonly<Record<string, unknown>>,
) => LibfuseMount

/** Throws `unimplemented`, saying what to install, where the package or its library is missing. */
export function loadLibfuse(): Libfuse {
  try {
    return createRequire(import.meta.url)('fuse-native') as Libfuse
  } catch (error) {
    throw new StoreError(
      'unimplemented',
      'the libfuse driver needs libfuse 2 (Debian: apt-get install libfuse2 fuse3) and the npm package fuse-native, which ' +
        'npm leaves out where libfuse is missing: run npm install again',
      { cause: error },
    )
  }
}
