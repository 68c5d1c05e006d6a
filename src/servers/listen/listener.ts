import { stat, unlink } from 'node:fs/promises'
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { type ErrorCode, StoreError, systemCode } from '../../support/errors.ts'
import { SOCKET_BUFFER_BYTES } from '../../support/limits.ts'
import { bindWithMode, closerOf, giveSocket, isStaleSocket, unlinkSocket } from '../../support/unix-socket.ts'
import type { ListenEndpoint } from './listen-address.ts'
import { inheritedSockets } from './socket-activation.ts'

/** The flags of spec §4.2, as far as Node can do them. */
export interface ListenSettings {
  /** Replaces a socket in the filesystem even when somebody answers on it. */
  readonly unixUnlink?: boolean
  /** Permissions of a socket in the filesystem, e.g. 0o660; by default what the umask leaves of 0o777. */
  readonly unixMode?: number
  readonly unixUid?: number
  readonly unixGid?: number
  readonly ignoreActivationEnvironment?: boolean
  /** Probes a silent TCP connection after this many milliseconds. */
  readonly keepAliveMs?: number
  readonly reusePort?: boolean
  readonly onlyV6?: boolean
  /** Connections that wait to be accepted. */
  readonly backlog?: number
}

/** One place where connections come in. */
export interface Listener {
  /** Where it listens in fact: the port is chosen by now. Same syntax as the address. */
  readonly address: string
  /** Whether other machines may reach it: TCP on something else than loopback. */
  readonly isExposed: boolean
  /** TCP, as opposed to a unix socket. */
  readonly isTcp: boolean
  /** Takes no more connections; those that exist go on. */
  close(): void
}

/** What a listener tells of. Neither is called before `startListeners` resolves. */
export interface ListenerEvents {
  onSocket(socket: Socket, listener: Listener): void
  /** Accepting a connection failed, for want of descriptors for instance. */
  onError(error: Error, listener: Listener): void
}

/**
 * Listens on an endpoint; there are several listeners where a service manager passed several sockets. A socket that
 * a killed daemon left behind is removed, after making sure that nobody answers on it. Throws StoreErrors that name
 * the address.
 */
export async function startListeners(
  { text, place }: ListenEndpoint,
  settings: ListenSettings,
  events: ListenerEvents,
): Promise<Listener[]> {
  const shared = { ...(settings.backlog !== undefined && { backlog: settings.backlog }) }
  const open = async (listenOn: (server: Server) => Promise<void>, name?: string) => {
    const server = createServer(socketOptions(settings))
    await listenOn(server)
    return createListener(server, name, events)
  }
  try {
    if (place.kind === 'unix')
      return [await open((server) => listenOnPath(server, { ...shared, path: place.path }, settings))]
    if (place.kind === 'port') {
      const { host, port } = place
      const { reusePort = false, onlyV6 = false } = settings
      const options = { ...shared, host, port, reusePort, ipv6Only: onlyV6 }
      return [await open((server) => listenOnPort(server, options))]
    }
    const listeners: Listener[] = []
    for (const fd of inheritedSockets(place.selection, activation(settings)))
      listeners.push(
        await open((server) => listen(server, { ...shared, fd }), `sd-listen (descriptor ${fd})`),
      )
    return listeners
  } catch (error) {
    throw listenError(text, error)
  }
}

function socketOptions({ keepAliveMs }: ListenSettings) {
  const keepAlive = keepAliveMs === undefined ? {} : { keepAlive: true, keepAliveInitialDelay: keepAliveMs }
  return { highWaterMark: SOCKET_BUFFER_BYTES, ...keepAlive }
}

function activation({ ignoreActivationEnvironment = false }: ListenSettings) {
  return { environment: process.env, pid: process.pid, ignoreEnvironment: ignoreActivationEnvironment }
}

function createListener(server: Server, name: string | undefined, events: ListenerEvents): Listener {
  const bound = server.address()
  // Asked once, while it listens: later the answer would be "nowhere", and TCP pass for a unix socket.
  const isTcp = bound !== null && typeof bound === 'object'
  const close = () => void server.close()
  const listener = {
    address: boundAddress(server) ?? name ?? '',
    isTcp,
    isExposed: isTcp && !isLoopback(bound.address),
    close: typeof bound === 'string' && !bound.startsWith('\0') ? closerOf(bound, close) : close,
  }
  server.on('connection', (socket) => events.onSocket(socket, listener))
  server.on('error', (error) => events.onError(error, listener))
  return listener
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.')
}

async function listenOnPort(server: Server, options: ListenOptions): Promise<void> {
  try {
    await listen(server, options)
  } catch (error) {
    // `::` means every address; a kernel without IPv6 has the other half of them.
    const noIpv6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(systemCode(error) ?? '')
    if (options.host !== '::' || options.ipv6Only || !noIpv6) throw error
    await listen(server, { ...options, host: '0.0.0.0' })
  }
}

type PathOptions = ListenOptions & { readonly path: string }

async function listenOnPath(server: Server, options: PathOptions, settings: ListenSettings): Promise<void> {
  const { path } = options
  if (path.startsWith('\0')) return listen(server, options) // has neither a file nor permissions
  if (settings.unixUnlink) await unlinkSocket(path)
  try {
    await listenWithMode(server, options, settings)
  } catch (error) {
    if (systemCode(error) === 'EACCES') await stat(dirname(path)) // libuv says EACCES for ENOENT
    if (systemCode(error) !== 'EADDRINUSE' || !(await isStaleSocket(path))) throw error
    await unlink(path)
    await listenWithMode(server, options, settings)
  }
}

async function listenWithMode(server: Server, options: PathOptions, settings: ListenSettings): Promise<void> {
  const ownership = { mode: settings.unixMode, uid: settings.unixUid, gid: settings.unixGid }
  await bindWithMode(ownership, () => listen(server, options)) // binds before it returns
  try {
    giveSocket(options.path, ownership)
  } catch (error) {
    server.close()
    throw error
  }
}

/** `fd` is missing in the types of the general form. */
type AnyListenOptions = ListenOptions & { readonly fd?: number }

function listen(server: Server, options: AnyListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(options, () => {
    server.off('error', reject)
    resolve()
  })
  return promise
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

/** `undefined` for an inherited unix socket: Node does not say. */
function boundAddress(server: Server): string | undefined {
  const bound = server.address()
  if (!bound) return undefined
  if (typeof bound === 'string') return bound.replace(/^\0/, '@')
  return bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`
}
