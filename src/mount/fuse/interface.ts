import type { Logger } from '../../support/log.ts'
import type { LocalChunkSource, Tree } from '../tree/interface.ts'
import type { Owner } from './attributes.ts'
import type { StatsSnapshot } from './stats.ts'

export interface MountTreeOptions {
  readonly tree: Tree
  /** An empty directory. */
  readonly target: string
  /** Lets other users in; without it only the one who mounts gets anything. */
  readonly allowOther: boolean
  /** Owner of everything. */
  readonly uidGid: Owner
  readonly showXattr: boolean
  readonly logger: Logger
  /** By default the addon, and libfuse where that is not built. */
  readonly driver?: MountDriver | undefined
  /** Files that lie on this machine are read by the kernel itself. */
  readonly passthrough?: boolean | undefined
  /** Where chunks lie on the local disk, if they do: files are then read, and small ones pushed ahead of that, by threads. */
  readonly localChunks?: LocalChunkSource | undefined
  /** How long a store path that was absent is held for absent, in milliseconds. */
  readonly negativeMs?: number
  /** After how long a call that waits for the store fails, in milliseconds. */
  readonly callMs?: number
}

export const MOUNT_DRIVERS = ['native', 'libfuse'] as const
export type MountDriver = (typeof MOUNT_DRIVERS)[number]

/** `requested`: `unmount` was called; `elsewhere`: somebody else unmounted it, or the kernel gave it up. */
export type MountEnd = 'requested' | 'elsewhere'

export interface Mount {
  /** The real path of the mount point. */
  readonly target: string
  readonly stats: StatsSnapshot
  /** Resolves when nothing is served any more. */
  readonly closed: Promise<MountEnd>
  /** Unmounts, even if files are open: whoever waits for an answer gets an error. Idempotent. */
  unmount(): Promise<void>
}
