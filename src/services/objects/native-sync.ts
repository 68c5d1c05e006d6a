import { release } from 'node:os'
import { loadAddon } from '../../support/addon.ts'

/** native/file_sync.c: 0 or a negative errno. */
interface NativeSync {
  syncFileSystem(fd: number): Promise<number>
}

/** `undefined` where the addon was not built: everything works without it, only slower. */
export function nativeSync(): NativeSync | undefined {
  try {
    return loadAddon('file_sync') as NativeSync
  } catch {
    return undefined
  }
}

/** Since Linux 5.8 syncfs reports what could not be written; before, it said that all was well. */
export function syncReportsFailures(kernel = release()): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10))
  return major > 5 || (major === 5 && minor >= 8)
}

/**
 * Whose syncfs commits files and folders, waits for the disk and reports failures. Not file servers and FUSE, whose
 * syncfs tells the server nothing, nor overlays and ZFS, which lose failures.
 */
export const SYNCED_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0x01021994, // tmpfs, where nothing is durable anyway, and nothing waited for
])
