import { realpath, writeFile } from 'node:fs/promises'
import { StoreError } from '../../support/errors.ts'
import {
  FUSE_READ_BYTES_MAX,
  MOUNT_CALL_MS_MAX,
  MOUNT_NEGATIVE_MS,
  MOUNT_READY_MS,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { Tree } from '../tree/interface.ts'
import { ChunkReader } from './chunk-reader.ts'
import { unmountAtExit } from './exit-unmount.ts'
import type { Mount, MountDriver, MountEnd, MountTreeOptions } from './interface.ts'
import { FILESYSTEM_NAME, mountDevice, unmountDevice } from './kernel-mount.ts'
import { mountWithLibfuse } from './libfuse.ts'
import { prepareMountPoint } from './mount-point.ts'
import { type MountEntry, readMountTable, topMount } from './mount-table.ts'
import { nativeAddon } from './native-addon.ts'
import { NativeDevice } from './native-device.ts'
import { NativePageFiller } from './page-filler.ts'
import { PreparedListings } from './prepared-listings.ts'
import { FuseSession } from './session.ts'
import type { StatsSnapshot } from './stats.ts'

/**
 * Mounts `tree` on `target` and serves it until it is unmounted. Resolves when the mount answers. The process
 * that serves a mount must not use it with a synchronous call, nor have its working directory there.
 */
export async function mountTree(options: MountTreeOptions): Promise<Mount> {
  const driver = options.driver ?? defaultDriver(options.logger)
  // Cleaning up what a killed process left is for whoever can unmount without asking the dead.
  if (driver === 'libfuse') return await mountWithLibfuse(await realpath(options.target), options)
  const target = await prepareMountPoint(options.target, options.logger)
  const fd = await mountDevice({ target, allowOther: options.allowOther })
  const session = new FuseSession(new NativeDevice(fd), options.tree, {
    owner: options.uidGid,
    showXattr: options.showXattr,
    negativeMs: options.negativeMs ?? MOUNT_NEGATIVE_MS,
    callMs: options.callMs ?? MOUNT_CALL_MS_MAX,
    logger: options.logger,
    passthrough: options.passthrough,
  })
  const listings = PreparedListings.of(options.tree, options.uidGid)
  if (listings) session.answerFrom(listings)
  const threads = { filler: startFilling(fd, session, options), reader: startReading(fd, session, options) }
  const mounted = new KernelMount(target, options.tree, session, threads, options.logger)
  try {
    await mounted.begin()
  } catch (error) {
    await mounted.unmount()
    throw error
  }
  return mounted
}

function defaultDriver(logger: Logger): MountDriver {
  try {
    nativeAddon()
    return 'native'
  } catch (error) {
    logger.warn({ reason: (error as Error).message }, 'mounting through libfuse, which is slower')
    return 'libfuse'
  }
}

/** Does without, where it cannot be done: it makes nothing possible that is not possible by asking. */
function startFilling(
  fd: number,
  session: FuseSession,
  { tree, localChunks, passthrough, logger }: MountTreeOptions,
): NativePageFiller | undefined {
  // Pages that are pushed belong to inodes that the kernel keeps; it must not also read them by itself.
  if (localChunks === undefined || passthrough || !tree.fillAhead) return undefined
  try {
    const filler = new NativePageFiller(fd, localChunks)
    tree.fillAhead(filler)
    session.filledBy(filler)
    return filler
  } catch (error) {
    logger.debug({ err: error }, 'small files are not pushed ahead of being read')
    return undefined
  }
}

/** Likewise. */
function startReading(
  fd: number,
  session: FuseSession,
  { tree, localChunks, logger }: MountTreeOptions,
): ChunkReader | undefined {
  if (localChunks === undefined || !tree.planRead) return undefined
  try {
    const reader = new ChunkReader(fd, localChunks, tree, (read) => session.readAgain(read))
    session.readFrom(reader)
    return reader
  } catch (error) {
    logger.debug({ err: error }, 'files are read by JavaScript')
    return undefined
  }
}

/** What works beside the session. */
interface Threads {
  readonly filler: NativePageFiller | undefined
  readonly reader: ChunkReader | undefined
}

class KernelMount implements Mount {
  readonly target: string
  readonly closed: Promise<MountEnd>
  readonly #tree: Tree
  readonly #session: FuseSession
  readonly #threads: Threads
  readonly #logger: Logger
  #entry: MountEntry | undefined
  /** It is gone: nothing is left to be done when the process ends. */
  #gone: () => void = () => {}
  #unmounting: Promise<void> | undefined

  constructor(target: string, tree: Tree, session: FuseSession, threads: Threads, logger: Logger) {
    this.target = target
    this.#tree = tree
    this.#session = session
    this.#threads = threads
    this.#logger = logger
    this.closed = session.closed.then(() => this.#ended())
  }

  get stats(): StatsSnapshot {
    const { filler, reader } = this.#threads
    return this.#session.stats.snapshot(filler?.counts, reader?.bytes)
  }

  async begin(): Promise<void> {
    // Told from any later mount on the same path by its device number.
    this.#entry = topMount(readMountTable(), this.target)
    if (this.#entry?.source !== FILESYSTEM_NAME)
      throw new StoreError('internal', `the mount on "${this.target}" was replaced while it was made`)
    this.#gone = unmountAtExit(this.#entry)
    this.#session.start()
    this.#tree.onRootChange?.((name) => this.#session.forgetRootEntry(name))
    await ready(this.#session, this.target)
    await raiseReadAhead(this.#entry, this.#logger)
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount()
    return this.#unmounting
  }

  async #unmount(): Promise<void> {
    try {
      // While the session still answers.
      await this.#threads.filler?.close()
      await this.#unmountOwn()
    } finally {
      this.#session.close()
      // They hold the device, too: only now does whoever still waits for them get an error.
      await this.#threads.reader?.close()
    }
  }

  async #ended(): Promise<MountEnd> {
    if (this.#unmounting) return 'requested'
    // When the connection was aborted, the mount is still there and answers every access with an error.
    // Not waited for: a thread may be waiting itself for a read that nobody answers any more.
    void this.#threads.filler?.close()
    void this.#threads.reader?.close()
    try {
      await this.#unmountOwn()
    } catch (error) {
      this.#logger.error({ error }, 'the mount is dead and could not be unmounted')
    }
    return 'elsewhere'
  }

  /** Never takes away what somebody else mounted on the same path since. */
  async #unmountOwn(): Promise<void> {
    const top = topMount(readMountTable(), this.target)
    if (top && top.device === this.#entry?.device) await unmountDevice(this.target)
    this.#gone()
  }
}

async function ready(session: FuseSession, target: string): Promise<void> {
  const late = Promise.withResolvers<never>()
  const error = new StoreError('deadline', `the kernel did not connect to the mount on "${target}"`)
  const timer = setTimeout(() => late.reject(error), MOUNT_READY_MS)
  try {
    await Promise.race([session.ready, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** INIT cannot raise the kernel's read-ahead of 128 KiB; root can, and reads then come in pieces of 1 MiB. */
async function raiseReadAhead({ device }: MountEntry, logger: Logger): Promise<void> {
  const file = `/sys/class/bdi/${device}/read_ahead_kb`
  try {
    await writeFile(file, String(FUSE_READ_BYTES_MAX / 1024))
  } catch (error) {
    logger.debug({ file, error }, 'the read-ahead of the kernel stays as it is')
  }
}
