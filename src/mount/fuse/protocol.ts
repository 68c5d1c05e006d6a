/**
 * The FUSE wire protocol as far as a read-only filesystem meets it: numbers and offsets of
 * include/uapi/linux/fuse.h (protocol 7.45), in bytes. All integers are in the host's byte order.
 */

/** `FUSE_KERNEL_VERSION`: a kernel with another one gets ours and asks again, or is too old. */
export const MAJOR = 7
/** The newest minor whose structures this code knows; the kernel and we use the lower of the two. */
export const MINOR = 45
/** Linux 3.15. Before it, the reply to INIT and the flags had other sizes and OPEN could not be left out. */
export const MINOR_MIN = 23

/** `FUSE_ROOT_ID` */
export const ROOT_NODE = 1

/** `enum fuse_opcode` */
export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const

/** The name of an opcode, or its number. */
export function opcodeName(opcode: number): string {
  return nameIn(Opcode, opcode)
}

/** Flags of INIT, bits 0–31 (`FUSE_ASYNC_READ`, …). */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  INIT_EXT: 1 << 30,
} as const

/** Flags of INIT, bits 32–63, counted from bit 0 of `flags2`. */
export const InitFlag2 = {
  PASSTHROUGH: 1 << 5,
  NO_EXPORT_SUPPORT: 1 << 6,
} as const

/** `FOPEN_*` */
export const OpenFlag = {
  KEEP_CACHE: 1 << 1,
  CACHE_DIR: 1 << 3,
  PASSTHROUGH: 1 << 7,
} as const

/** `enum fuse_notify_code` */
export const Notify = {
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
} as const

/** `struct fuse_in_header` */
export const IN_HEADER = {
  bytes: 40,
  length: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
} as const

/** `struct fuse_out_header` */
export const OUT_HEADER = {
  bytes: 16,
  length: 0,
  error: 4,
  unique: 8,
} as const

/** `struct fuse_init_in`. Kernels before 7.36 send the first 16 bytes. */
export const INIT_IN = {
  bytes: 16,
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  flags2: 16,
} as const

/** `struct fuse_init_out` */
export const INIT_OUT = {
  bytes: 64,
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  maxBackground: 16,
  congestionThreshold: 18,
  maxWrite: 20,
  timeGran: 24,
  maxPages: 28,
  flags2: 32,
  maxStackDepth: 36,
} as const

/** `struct fuse_attr` */
export const ATTR = {
  bytes: 88,
  ino: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimeNsec: 48,
  mtimeNsec: 52,
  ctimeNsec: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
} as const

/** `struct fuse_entry_out` */
export const ENTRY_OUT = {
  bytes: 128,
  nodeid: 0,
  generation: 8,
  entryValid: 16,
  attrValid: 24,
  entryValidNsec: 32,
  attrValidNsec: 36,
  attr: 40,
} as const

/** `struct fuse_attr_out` */
export const ATTR_OUT = {
  bytes: 104,
  attrValid: 0,
  attrValidNsec: 8,
  attr: 16,
} as const

/** `struct fuse_open_out` */
export const OPEN_OUT = {
  bytes: 16,
  fh: 0,
  openFlags: 8,
  backingId: 12,
} as const

/** `struct fuse_read_in`, for READ, READDIR and READDIRPLUS. Its first 24 bytes are all that is used. */
export const READ_IN = {
  bytes: 24,
  offset: 8,
  size: 16,
} as const

/** `struct fuse_dirent`; `struct fuse_direntplus` has an entry_out before it. Records are padded to 8 bytes. */
export const DIRENT = {
  bytes: 24,
  ino: 0,
  off: 8,
  namelen: 16,
  type: 20,
  align: 8,
} as const

/** `struct fuse_kstatfs`, the reply to STATFS; it ends with 24 unused bytes. */
export const STATFS_OUT = {
  bytes: 80,
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
} as const

/** `struct fuse_getxattr_in`; the name follows. LISTXATTR has the same, without a name. */
export const GETXATTR_IN = { bytes: 8, size: 0 } as const
/** `struct fuse_getxattr_out`, the reply to a request of size 0. */
export const GETXATTR_OUT = { bytes: 8, size: 0 } as const
/** `struct fuse_forget_in` */
export const FORGET_IN = { bytes: 8, nlookup: 0 } as const
/** `struct fuse_batch_forget_in`; so many `struct fuse_forget_one` follow. */
export const BATCH_FORGET_IN = { bytes: 8, count: 0 } as const
/** `struct fuse_forget_one` */
export const FORGET_ONE = { bytes: 16, nodeid: 0, nlookup: 8 } as const
/** `struct fuse_interrupt_in` */
export const INTERRUPT_IN = { bytes: 8, unique: 0 } as const
/** `struct fuse_notify_inval_inode_out` */
export const INVAL_INODE_OUT = { bytes: 24, ino: 0, off: 8, len: 16 } as const

/** `struct fuse_notify_inval_entry_out`; the name and a NUL follow */
export const INVAL_ENTRY_OUT = { bytes: 16, parent: 0, nameLength: 8, flags: 12 } as const

/** File types in `st_mode` and in directory entries (`S_IFMT >> 12`, linux/fs.h). */
export const FILE_TYPE = { directory: 4, file: 8, symlink: 10 } as const

/** The errno values a read-only filesystem answers with (asm-generic/errno.h). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  E2BIG: 7,
  EAGAIN: 11,
  EBUSY: 16,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EROFS: 30,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENODATA: 61,
  EPROTO: 71,
  EMSGSIZE: 90,
  ENOTSUP: 95,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ESTALE: 116,
} as const

export function errnoName(errno: number): string {
  return nameIn(Errno, errno)
}

function nameIn(table: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(table).find((name) => table[name] === value) ?? `#${value}`
}
