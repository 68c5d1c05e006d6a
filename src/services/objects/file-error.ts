import { type ErrorCode, StoreError, systemCode } from '../../support/errors.ts'

const KNOWN: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ['exhausted', 'the disk is full: free some space and try again'],
  EDQUOT: ['exhausted', 'the disk quota is used up: free some space and try again'],
  EFBIG: ['exhausted', 'the file would be larger than this file system or ulimit -f allows'],
  EMFILE: ['exhausted', 'too many open files: raise ulimit -n'],
  ENFILE: ['exhausted', 'too many open files on this machine: raise fs.file-max'],
  ENOMEM: ['exhausted', 'the kernel is out of memory'],
  EACCES: ['denied', 'permission denied: check owner and mode'],
  EPERM: ['denied', 'operation not permitted: check owner and attributes'],
  EROFS: ['precondition', 'the file system is mounted read-only'],
  ENOTDIR: ['precondition', 'a part of the path is a file and no folder: name another place'],
  ENOENT: ['unavailable', 'it, or a folder above it, went away'],
  EIO: ['unavailable', 'the disk reports an input/output error: check the kernel log'],
  ESTALE: ['unavailable', 'the file server forgot this file: try again'],
}

/** A failed system call as a StoreError that says what was being done and what can be done about it. */
export function fileError(what: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const code = systemCode(error)
  const known = code === undefined ? undefined : KNOWN[code]
  if (!known) return new StoreError('internal', `${what}: ${(error as Error).message}`, { cause: error })
  return new StoreError(known[0], `${what}: ${known[1]} (${code})`, { cause: error })
}

/** Only these two mean that there is no such file; any other failure leaves it open. */
export function saysAbsent(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

export function ignoreAbsent(error: unknown): undefined {
  if (!saysAbsent(error)) throw error
}
