import { lstat, opendir, realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { StoreError, systemCode } from '../../support/errors.ts'
import { MOUNT_PROBE_MS, MOUNT_STALE_MAX } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { FILESYSTEM_NAME, unmountStale } from './kernel-mount.ts'
import { type MountEntry, readMountTable, topMount } from './mount-table.ts'

/**
 * Makes sure that `target` can be mounted on, and answers with its real path: an empty directory on which
 * nothing is mounted. What a killed process left behind is unmounted first. Throws StoreErrors that say what
 * to do. No filesystem is ever waited for longer than a moment: the one below may be wedged.
 */
export async function prepareMountPoint(target: string, logger: Logger): Promise<string> {
  const path = await realTarget(target)
  await clearStaleMounts(path, logger)
  await requireEmptyDirectory(path)
  return path
}

/** The path as the mount table has it. What is mounted there is not touched on the way. */
async function realTarget(target: string): Promise<string> {
  const absolute = resolve(target)
  const parent = await answer(absolute, realpath(dirname(absolute)))
  const path = join(parent, basename(absolute))
  if (topMount(readMountTable(), path)) return path
  return await answer(absolute, realpath(path))
}

/** Unmounts mounts of ours that lost their process; throws when anything that lives is mounted on `path`. */
async function clearStaleMounts(path: string, logger: Logger): Promise<void> {
  for (let i = 0; i < MOUNT_STALE_MAX; i++) {
    const top = topMount(readMountTable(), path)
    if (!top) return
    if (!(await isStale(path, top))) throw occupied(path, top)
    logger.warn({ target: path }, 'a killed process left its mount behind; it is unmounted now')
    await unmountStale(path)
  }
  throw new StoreError(
    'precondition',
    `more than ${MOUNT_STALE_MAX} dead mounts lie on ${quote(path)}; unmount them`,
  )
}

async function isStale(path: string, top: MountEntry): Promise<boolean> {
  if (!isOurs(top)) return false
  try {
    await within(lstat(path))
    return false
  } catch (error) {
    if (systemCode(error) === 'ENOTCONN') return true
    // It hangs: its process is there, and may be at work for others.
    if (error instanceof ProbeTimeout) return false
    throw error
  }
}

function isOurs({ type, source }: MountEntry): boolean {
  return type === 'fuse' && source === FILESYSTEM_NAME
}

function occupied(path: string, top: MountEntry): StoreError {
  const next = `unmount it first (umount ${quote(path)}) or choose another directory`
  if (isOurs(top))
    return new StoreError('precondition', `tvix-store is already mounted on ${quote(path)}; ${next}`)
  return new StoreError(
    'precondition',
    `${quote(path)} is in use by another mount (${top.type}, ${quote(top.source)}); ${next}`,
  )
}

async function requireEmptyDirectory(path: string): Promise<void> {
  const directory = await answer(path, opendir(path))
  try {
    const first = await answer(path, directory.read())
    if (first)
      throw new StoreError(
        'precondition',
        `the mount point ${quote(path)} is not empty and would be hidden; choose an empty directory`,
      )
  } finally {
    await directory.close()
  }
}

/** The result of a file system call on the mount point, or a StoreError that says what is wrong with it. */
async function answer<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await within(work)
  } catch (error) {
    throw unusable(path, error)
  }
}

function unusable(path: string, error: unknown): StoreError {
  const point = `the mount point ${quote(path)}`
  if (error instanceof ProbeTimeout)
    return new StoreError('unavailable', `${point} does not answer: the filesystem it lies on hangs`)
  switch (systemCode(error)) {
    case 'ENOENT':
      return new StoreError('not-found', `${point} does not exist; create it with: mkdir -p ${quote(path)}`)
    case 'ENOTDIR':
      return new StoreError('invalid-argument', `${point} is not a directory; name an empty directory`)
    case 'EACCES':
    case 'EPERM':
      return new StoreError('denied', `${point} may not be used by this user; run as root or choose another`)
    default:
      return new StoreError('internal', `${point} cannot be examined: ${StoreError.from(error).message}`, {
        cause: error,
      })
  }
}

class ProbeTimeout extends Error {}

/** A call that hangs in the kernel keeps one thread of the pool; we go on without its answer. */
async function within<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new ProbeTimeout()), MOUNT_PROBE_MS)
  work.catch(() => {}) // nobody may be left to hear of a late failure
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function quote(path: string): string {
  return JSON.stringify(path)
}
