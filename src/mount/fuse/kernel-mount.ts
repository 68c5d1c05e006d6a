import { closeSync, constants, openSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { StoreError, systemCode } from '../../support/errors.ts'
import { FUSE_READ_BYTES_MAX } from '../../support/limits.ts'
import { fusermountDetach, fusermountMount, fusermountUnmount } from './fusermount.ts'
import { nativeAddon } from './native-addon.ts'
import { Errno } from './protocol.ts'

/** Source of our mounts in the mount table (spec §5.2). */
export const FILESYSTEM_NAME = 'tvix-store'

/** sys/mount.h */
const MountFlag = { MS_RDONLY: 1, MS_NOSUID: 2, MS_NODEV: 4, MS_NOATIME: 1024 } as const
const UnmountFlag = { MNT_DETACH: 2, UMOUNT_NOFOLLOW: 8 } as const

const FLAGS = MountFlag.MS_RDONLY | MountFlag.MS_NOSUID | MountFlag.MS_NODEV | MountFlag.MS_NOATIME

export interface KernelMountOptions {
  readonly target: string
  readonly allowOther: boolean
}

/**
 * Mounts on `target`, directly or, without the privilege, through fusermount3; answers with the descriptor that
 * serves the mount. The kernel checks modes by itself (`default_permissions`), which also spares requests.
 */
export async function mountDevice({ target, allowOther }: KernelMountOptions): Promise<number> {
  const options = ['default_permissions', `max_read=${FUSE_READ_BYTES_MAX}`]
  if (allowOther) options.push('allow_other')
  const fd = mountDirectly(target, options)
  if (fd !== undefined) return fd
  return await fusermountMount(target, [`fsname=${FILESYSTEM_NAME}`, 'ro,nosuid,nodev,noatime', ...options])
}

/** `undefined`: this user may not. */
function mountDirectly(target: string, options: readonly string[]): number | undefined {
  const fd = openDevice()
  if (fd === undefined) return undefined
  const own = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.getuid?.()}`,
    `group_id=${process.getgid?.()}`,
  ]
  const failed = nativeAddon().mount(FILESYSTEM_NAME, target, FLAGS, [...own, ...options].join(','))
  if (failed === 0) return fd
  closeSync(fd)
  if (failed === -Errno.EPERM) return undefined
  throw new StoreError('internal', `mounting on "${target}" failed: ${getSystemErrorName(failed)}`)
}

function openDevice(): number | undefined {
  try {
    // Node opens everything close-on-exec: a child that kept the device open would keep a dead mount hanging.
    return openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EACCES' || code === 'EPERM') return undefined
    throw new StoreError(
      'unimplemented',
      `/dev/fuse cannot be opened (${code}); load the kernel's FUSE support with: modprobe fuse`,
      { cause: error },
    )
  }
}

/** Unmounts `target`: at once when nothing uses it, else as soon as its last user leaves. */
export async function unmountDevice(target: string): Promise<void> {
  let failed = nativeAddon().unmount(target, UnmountFlag.UMOUNT_NOFOLLOW)
  if (failed === -Errno.EBUSY) failed = detach(target)
  await settle(target, failed)
}

/** Takes away a mount whose process is gone, whoever still stands in it. */
export async function unmountStale(target: string): Promise<void> {
  await settle(target, detach(target))
}

/** The same from a process that is about to end, which waits for nothing. */
export function detachNow(target: string): void {
  if (detach(target) === -Errno.EPERM) fusermountDetach(target)
}

function detach(target: string): number {
  return nativeAddon().unmount(target, UnmountFlag.MNT_DETACH | UnmountFlag.UMOUNT_NOFOLLOW)
}

async function settle(target: string, failed: number): Promise<void> {
  // EINVAL: nothing is mounted there any more.
  if (failed === 0 || failed === -Errno.EINVAL) return
  if (failed === -Errno.EPERM) return await fusermountUnmount(target)
  throw new StoreError('internal', `unmounting "${target}" failed: ${getSystemErrorName(failed)}`)
}
