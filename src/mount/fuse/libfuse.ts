/**
 * The mount through libfuse 2 (the package fuse-native), for machines without a compiler: the same tree under an
 * interface of paths. What it cannot do: names that are not UTF-8 (they are not shown), listings with attributes, reads
 * of more than 128 KiB, caches that last longer than a second, and other errors than EPERM for what would change
 * something when root does it.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { view } from '../../support/bytes.ts'
import { type Call, withDeadline } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { FaultLog } from '../../support/fault-log.ts'
import { BLOB_BYTES_MAX, LIBFUSE_WATCH_MS, MOUNT_CALL_MS_MAX, NAME_BYTES_MAX } from '../../support/limits.ts'
import type { Attributes, EntrySink, InodeNumber, Soon, Tree } from '../tree/interface.ts'
import { BLOCK_BYTES, MTIME_SECONDS, modeOf, type Owner, SECTOR_BYTES } from './attributes.ts'
import { errnoOf, Refusal } from './errno.ts'
import type { Mount, MountEnd, MountTreeOptions } from './interface.ts'
import { FILESYSTEM_NAME } from './kernel-mount.ts'
import {
  type Done,
  type LibfuseOperations,
  type LibfuseStat,
  type LibfuseStatfs,
  loadLibfuse,
} from './libfuse-binding.ts'
import { LibfusePaths } from './libfuse-paths.ts'
import { readMountTable, topMount } from './mount-table.ts'
import { Errno } from './protocol.ts'
import { SessionStats, type StatsSnapshot } from './stats.ts'

/** Its unmounting goes through a shell. */
const UNSAFE_IN_SHELL = /["$`\\\n]/

/** Mounts on `target`, which is an empty directory, and resolves when the mount answers. */
export async function mountWithLibfuse(target: string, options: MountTreeOptions): Promise<Mount> {
  if (UNSAFE_IN_SHELL.test(target))
    throw new StoreError('invalid-argument', `the libfuse driver cannot mount on ${JSON.stringify(target)}`)
  const Libfuse = loadLibfuse()
  const operations = new LibfuseSession(options)
  const mount = new Libfuse(target, operations, {
    // The options of fuse-native have no place for these; this one is put in front of a comma as it is.
    fsname: `${FILESYSTEM_NAME},ro,nosuid,nodev`,
    allowOther: options.allowOther,
    defaultPermissions: true,
    timeout: false,
  })
  await done((then) => mount.mount(then), target, 'mount on')
  return new LibfuseMountPoint(target, operations, () =>
    done((then) => mount.unmount(then), target, 'unmount'),
  )
}

async function done(
  work: (then: (error: Error | null) => void) => void,
  target: string,
  what: string,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  work((error) => (error ? reject(error) : resolve()))
  try {
    await promise
  } catch (error) {
    const { message } = error as Error
    throw new StoreError('unavailable', `libfuse cannot ${what} "${target}": ${message}`, { cause: error })
  }
}

class LibfuseMountPoint implements Mount {
  readonly target: string
  readonly closed: Promise<MountEnd>
  readonly #session: LibfuseSession
  readonly #unmountIt: () => Promise<void>
  readonly #watching = new AbortController()
  #unmounting: Promise<void> | undefined

  constructor(target: string, session: LibfuseSession, unmountIt: () => Promise<void>) {
    this.target = target
    this.#session = session
    this.#unmountIt = unmountIt
    this.closed = this.#watch()
  }

  get stats(): StatsSnapshot {
    return this.#session.stats.snapshot()
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmountIt().finally(() => this.#watching.abort())
    return this.#unmounting
  }

  /** libfuse tells nobody that somebody else unmounted: the mount table does. */
  async #watch(): Promise<MountEnd> {
    const { signal } = this.#watching
    while (!signal.aborted) {
      await wait(LIBFUSE_WATCH_MS, undefined, { signal, ref: false }).catch(() => {})
      if (!this.#unmounting && topMount(readMountTable(), this.target)?.source !== FILESYSTEM_NAME)
        return 'elsewhere'
    }
    return 'requested'
  }
}

interface Listed {
  readonly names: string[]
  readonly stats: Pick<LibfuseStat, 'mode'>[]
}

/** Answers libfuse. Every call ends, by its deadline at the latest. */
class LibfuseSession implements LibfuseOperations {
  readonly stats = new SessionStats()
  readonly #tree: Tree
  readonly #paths: LibfusePaths
  readonly #owner: Owner
  readonly #showXattr: boolean
  readonly #callMs: number
  readonly #failures: FaultLog

  constructor({ tree, uidGid, showXattr, callMs = MOUNT_CALL_MS_MAX, logger }: MountTreeOptions) {
    this.#tree = tree
    this.#paths = new LibfusePaths(tree)
    this.#owner = uidGid
    this.#showXattr = showXattr
    this.#callMs = callMs
    this.#failures = new FaultLog(logger)
  }

  getattr(path: string, then: Done<LibfuseStat>): void {
    this.#serve('stat', path, then, (inode) => this.#stat(this.#tree.getattr(inode)))
  }

  readdir(path: string, then: Parameters<LibfuseOperations['readdir']>[1]): void {
    this.#serve<Listed>(
      'listing',
      path,
      (outcome, listed) => then(outcome, listed?.names, listed?.stats),
      (inode, call) => this.#list(inode, call),
    )
  }

  readlink(path: string, then: Done<string>): void {
    this.#serve('readlink', path, then, (inode) => {
      const target = view(this.#tree.readlink(inode)).toString('utf8')
      if (target.includes('\ufffd')) throw new Refusal('EIO')
      return target
    })
  }

  open(path: string, _flags: number, then: Done<number>): void {
    this.#serve('open', path, then, () => 0)
  }

  read(path: string, _fd: number, buffer: Buffer, length: number, offset: number, then: Done<never>): void {
    const copied = (outcome: number, pieces?: readonly Uint8Array[]) => {
      let at = 0
      for (const piece of pieces ?? []) {
        buffer.set(piece, at)
        at += piece.length
      }
      this.stats.bytesRead += at
      then(outcome < 0 ? outcome : at)
    }
    this.#serve<readonly Uint8Array[]>(
      'read',
      path,
      (outcome, pieces) => copied(outcome, pieces),
      (inode, call) => this.#tree.read(inode, offset, length, call),
    )
  }

  statfs(path: string, then: Done<LibfuseStatfs>): void {
    this.#serve('statfs', path, then, () => {
      const { blockSize, blocks, files } = this.#tree.statfs()
      return {
        bsize: blockSize,
        frsize: blockSize,
        blocks: Number(blocks),
        files: Number(files),
        namemax: NAME_BYTES_MAX,
      }
    })
  }

  listxattr(path: string, then: Done<readonly string[]>): void {
    // An empty list would be given room for attributes of another system.
    const listed = (outcome: number, names?: readonly string[]) =>
      then(outcome, names?.length === 0 ? undefined : names)
    this.#serve('listxattr', path, listed, (inode) => (this.#showXattr ? this.#tree.listxattr(inode) : []))
  }

  getxattr(path: string, name: string, _position: number, then: Done<Buffer>): void {
    this.#serve('getxattr', path, then, (inode) => {
      const value = this.#showXattr ? this.#tree.getxattr(inode, name) : undefined
      if (value === undefined) throw new Refusal('ENODATA')
      return view(value)
    })
  }

  async #list(inode: InodeNumber, call: Call): Promise<Listed> {
    const listed: Listed = { names: [], stats: [] }
    let cookie = 0
    const sink: EntrySink = {
      add: (name, { attributes }, next) => {
        cookie = next
        const text = view(name).toString('utf8')
        if (text.includes('\ufffd')) return true
        listed.names.push(text)
        listed.stats.push({ mode: modeOf(attributes) })
        return true
      },
    }
    for (let before = -1; before !== cookie; ) {
      before = cookie
      await this.#tree.readdir(inode, cookie, sink, false, call)
    }
    return listed
  }

  #serve<T>(
    what: string,
    path: string,
    then: Done<T>,
    work: (inode: InodeNumber, call: Call) => Soon<T>,
  ): void {
    void this.#run(what, path, work).then(
      (value) => then(0, value),
      (error) => then(this.#failed(what, path, error)),
    )
  }

  async #run<T>(what: string, path: string, work: (inode: InodeNumber, call: Call) => Soon<T>): Promise<T> {
    using call = withDeadline(undefined, this.#callMs, `${what} of ${path}`)
    const left = Promise.withResolvers<never>()
    call.signal.addEventListener('abort', () => left.reject(call.signal.reason), { once: true })
    const answer = this.#paths.find(path, call).then((inode) => work(inode, call))
    return await Promise.race([answer, left.promise])
  }

  #failed(what: string, path: string, error: unknown): number {
    const errno = errnoOf(error)
    this.stats.countError(errno)
    if (errno === Errno.EIO || errno === Errno.ETIMEDOUT) {
      const { code, message } = StoreError.from(error)
      this.#failures.error({ path, code }, `${what} failed: ${message}`)
    }
    return -errno
  }

  #stat(attributes: Attributes): LibfuseStat {
    const size = Math.min(Number(attributes.size), BLOB_BYTES_MAX)
    return {
      mode: modeOf(attributes),
      ...this.#owner,
      size,
      nlink: 1,
      // fuse-native carries 32 bits, and libfuse makes up numbers of its own.
      ino: 0,
      blksize: BLOCK_BYTES,
      blocks: Math.ceil(size / SECTOR_BYTES),
      atime: 0,
      mtime: MTIME_SECONDS * 1000,
      ctime: 0,
    }
  }
}
