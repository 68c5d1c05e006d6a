import { closeSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { getSystemErrorName } from 'node:util'
import { type ErrorCode, StoreError } from '../../support/errors.ts'
import { bindWithMode, giveSocket, isStaleSocket, type SocketOwnership } from '../../support/unix-socket.ts'
import { vhostAddon } from './vhost-addon.ts'

export type SocketPermissions = SocketOwnership

const FAULTS: Readonly<Record<string, [code: ErrorCode, message: string]>> = {
  EADDRINUSE: ['precondition', 'another process listens there'],
  EACCES: ['denied', 'permission denied'],
  EROFS: ['denied', 'the filesystem is read-only'],
  ENOENT: ['not-found', 'the folder of the socket does not exist'],
  ENOTDIR: ['not-found', 'the folder of the socket does not exist'],
  ENAMETOOLONG: ['invalid-argument', 'the path of a unix socket has at most 107 bytes'],
}

/**
 * A listening socket at `path`, for virtual machine monitors; its descriptor. What a killed process left there is
 * removed, after making sure that nobody answers on it.
 */
export async function listenForFrontEnds(path: string, permissions: SocketPermissions): Promise<number> {
  const bind = () => bindWithMode(permissions, () => vhostAddon().listen(path))
  let listener = bind()
  try {
    if (getSystemErrorName(Math.min(listener, -1)) === 'EADDRINUSE' && (await isStaleSocket(path))) {
      await unlink(path)
      listener = bind()
    }
    if (listener >= 0) giveSocket(path, permissions)
  } catch (error) {
    if (listener >= 0) closeSync(listener)
    throw failure(path, StoreError.from(error).code, (error as Error).message, error)
  }
  if (listener >= 0) return listener
  const name = getSystemErrorName(listener)
  throw failure(path, ...(FAULTS[name] ?? (['internal', name] as const)))
}

function failure(path: string, code: ErrorCode, reason: string, cause?: unknown): StoreError {
  return new StoreError(code, `cannot listen on ${path}: ${reason}`, { cause })
}
