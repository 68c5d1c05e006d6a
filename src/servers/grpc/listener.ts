import { lstat, stat, unlink } from 'node:fs/promises'
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { type ErrorCode, StoreError, systemCode } from '../../support/errors.ts'

/** One place where connections come in. */
export interface Listener {
  /** Where it listens in fact: the port is chosen by now. Same syntax as the address. */
  readonly address: string
  /** Takes no more connections; those that exist go on. */
  close(): void
}

/**
 * Listens on `[::]:8000`, `host:port` (port 0: any free one) or the path of a unix socket, which begins with
 * `/` or `.`. A socket that a killed daemon left behind is removed, after making sure that nobody answers on it.
 * Throws StoreErrors that name the address.
 */
export async function startListener(address: string, onSocket: (socket: Socket) => void): Promise<Listener> {
  const options = parseListenAddress(address)
  const server = createServer(onSocket)
  try {
    if (options.path !== undefined) await listenOnPath(server, options.path)
    else await listenOnPort(server, options)
  } catch (error) {
    throw listenError(address, error)
  }
  return { address: boundAddress(server), close: () => void server.close() }
}

const HOST_AND_PORT = /^(?:\[(?<v6>[0-9a-fA-F:.%a-z]+)\]|(?<host>[^:[\]/]+)):(?<port>[0-9]{1,5})$/
const PORT_MAX = 65_535

function parseListenAddress(address: string): ListenOptions {
  if (address.startsWith('/') || address.startsWith('.')) return { path: address }
  const { v6, host, port } = HOST_AND_PORT.exec(address)?.groups ?? {}
  if (port === undefined || Number(port) > PORT_MAX)
    throw new StoreError(
      'invalid-argument',
      `cannot listen on ${address}: give host:port, [v6 address]:port, or a path that begins with / or .`,
    )
  return { host: v6 ?? host, port: Number(port) }
}

async function listenOnPort(server: Server, options: ListenOptions): Promise<void> {
  try {
    await listen(server, options)
  } catch (error) {
    // `::` means every address; a kernel without IPv6 has the other half of them.
    const noIpv6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(systemCode(error) ?? '')
    if (options.host !== '::' || !noIpv6) throw error
    await listen(server, { ...options, host: '0.0.0.0' })
  }
}

async function listenOnPath(server: Server, path: string): Promise<void> {
  try {
    await listen(server, { path })
  } catch (error) {
    if (systemCode(error) === 'EACCES') await stat(dirname(path)) // libuv says EACCES for ENOENT
    if (systemCode(error) !== 'EADDRINUSE' || !(await isStale(path))) throw error
    await unlink(path)
    await listen(server, { path })
  }
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(options, () => {
    server.off('error', reject)
    resolve()
  })
  return promise
}

/** A socket in the filesystem on which nobody listens. */
async function isStale(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket())
    throw new StoreError('precondition', 'something that is no socket is in the way')
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

const LISTEN_FAULTS: Readonly<Record<string, [code: ErrorCode, message: string]>> = {
  EADDRINUSE: ['precondition', 'another process listens there'],
  EADDRNOTAVAIL: ['invalid-argument', 'this machine has no such address'],
  EACCES: ['denied', 'permission denied'],
  EPERM: ['denied', 'permission denied'],
  EROFS: ['denied', 'the filesystem is read-only'],
  ENOENT: ['not-found', 'the folder of the socket does not exist'],
  ENOTDIR: ['not-found', 'the folder of the socket does not exist'],
  ENOTFOUND: ['not-found', 'the host name is unknown'],
  EINVAL: ['invalid-argument', 'the path of a unix socket has at most 107 bytes'],
}

function listenError(address: string, error: unknown): StoreError {
  const fault = LISTEN_FAULTS[systemCode(error) ?? '']
  if (fault) return new StoreError(fault[0], `cannot listen on ${address}: ${fault[1]}`, { cause: error })
  const known = StoreError.from(error)
  return new StoreError(known.code, `cannot listen on ${address}: ${known.message}`, { cause: error })
}

function boundAddress(server: Server): string {
  const bound = server.address()!
  if (typeof bound === 'string') return bound
  return bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`
}
