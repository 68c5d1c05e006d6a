import { chmodSync, lchownSync, lstatSync, renameSync } from 'node:fs'
import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { StoreError, systemCode } from './errors.ts'

/** Who may connect to a socket in the filesystem; connecting takes the permission to write. */
export interface SocketOwnership {
  /** E.g. 0o660; by default what the umask leaves of 0o777. */
  readonly mode?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
}

/**
 * Runs `bind`, which makes a socket at `path` before it returns. It has its permissions from its first moment, by the
 * umask: changed afterwards, it would be open to anybody in between. One that is to belong to somebody else is ours
 * alone until `giveSocket`.
 */
export function bindWithMode<T>(ownership: SocketOwnership, bind: () => T): T {
  const umask = process.umask(0o777 & ~(changesOwner(ownership) ? 0o600 : modeOf(ownership)))
  try {
    return bind()
  } finally {
    process.umask(umask)
  }
}

/** Gives a socket that `bindWithMode` made to its owner. */
export function giveSocket(path: string, ownership: SocketOwnership): void {
  if (!changesOwner(ownership)) return
  lchownSync(path, ownership.uid ?? -1, ownership.gid ?? -1)
  chmodSync(path, modeOf(ownership))
}

function changesOwner({ uid, gid }: SocketOwnership): boolean {
  return uid !== undefined || gid !== undefined
}

function modeOf({ mode }: SocketOwnership): number {
  return mode ?? 0o777 & ~process.umask()
}

/** Removes a socket; nothing there is fine, anything else is not. */
export async function unlinkSocket(path: string): Promise<void> {
  try {
    await mustBeSocket(path)
    await unlink(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

/**
 * Call it when something listens at `path`; what it returns runs `close`, which stops listening. libuv removes whatever has
 * the name then, also the socket of a successor that replaced ours: it would listen where nobody can find it. So that one
 * stands aside for the moment.
 */
export function closerOf(path: string, close: () => void): () => void {
  const ours = identifySocket(path)
  return () => {
    const aside = identifySocket(path) === ours ? undefined : standAside(path)
    close()
    if (aside !== undefined) renameSync(aside, path)
  }
}

/** Which one has the name, if any. A socket keeps its inode for as long as somebody listens on it, whatever name it has. */
export function identifySocket(path: string): string | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
}

/** `undefined` where nothing is, or we may not move it: then libuv cannot remove it either. */
function standAside(path: string): string | undefined {
  const aside = `${path}.${process.pid}`
  try {
    renameSync(path, aside)
    return aside
  } catch {
    return undefined
  }
}

/** A socket in the filesystem on which nobody listens. */
export async function isStaleSocket(path: string): Promise<boolean> {
  await mustBeSocket(path)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(path)
  socket.once('connect', () => resolve(false))
  socket.once('error', (error) => resolve(systemCode(error) === 'ECONNREFUSED'))
  try {
    return await promise
  } finally {
    socket.destroy()
  }
}

async function mustBeSocket(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket())
    throw new StoreError('precondition', 'something that is no socket is in the way')
}
