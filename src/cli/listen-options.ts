import { type Command, InvalidArgumentError, Option } from 'commander'
import type { GrpcServerParts } from '../servers/grpc/server.ts'
import type { ListenSettings } from '../servers/listen/listener.ts'
import { loadServerTls } from '../servers/listen/tls.ts'
import { loadTokens } from '../servers/listen/tokens.ts'
import { StoreError } from '../support/errors.ts'
import type { Logger } from '../support/log.ts'
import type { SocketOwnership } from '../support/unix-socket.ts'

/** Who may connect to unix sockets. */
export interface SocketOptions {
  readonly unixListenChmod?: keyof typeof MODES
  readonly unixListenUid?: number
  readonly unixListenGid?: number
}

/** The flags of spec §4.2 under its names, and those for TLS and tokens, as commander hands them over. */
export interface ListenOptions extends SocketOptions {
  readonly listenAddress: readonly string[]
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsClientCa?: string
  readonly tokenFile?: string
  readonly unixListenUnlink?: boolean
  readonly sdAcceptIgnoreEnvironment?: boolean
  readonly tcpKeepalive?: Keepalive
  readonly tcpReusePort?: boolean
  readonly tcpOnlyV6?: boolean
  readonly tcpListenBacklog?: number
  readonly recvBufferSize?: number
  readonly sendBufferSize?: number
}

interface Keepalive {
  /** 0: what the system does. */
  readonly timeMs: number
  /** Whether more was asked for than the time. */
  readonly hasMore: boolean
}

const DEFAULT_LISTEN_ADDRESS = '[::]:8000'
/** Connecting to a unix socket takes the permission to write. */
const MODES = { owner: 0o600, group: 0o660, everybody: 0o666 } as const

export function addListenOptions(command: Command, preset = DEFAULT_LISTEN_ADDRESS): void {
  const add = (flags: string, description: string, parse?: (text: string) => unknown) => {
    const option = new Option(flags, description)
    command.addOption(parse ? option.argParser(parse) : option)
  }
  command.option(
    '-l, --listen-address <address...>',
    'host:port, path of a unix socket, @abstract, sd-listen[:name|:*]; with ?role=read-only,no-list',
    [preset],
  )
  add('--tls-cert <file>', 'certificate chain (PEM): TCP listeners speak TLS')
  add('--tls-key <file>', 'its private key (PEM)')
  add('--tls-client-ca <file>', 'clients need a certificate of one of these authorities (PEM)')
  add('--token-file <file>', 'clients need a bearer token; lines of role:token, role: read, put, list, admin')
  add('--unix-listen-unlink', 'replace a socket even if somebody answers on it')
  addSocketOptions(command)
  add(
    '--sd-accept-ignore-environment',
    'for sd-listen: take descriptor 3 whatever LISTEN_PID and LISTEN_FDS say',
  )
  add(
    '--tcp-keepalive <time_ms:count:interval_ms>',
    'probe silent connections; Node sets the time only',
    parseKeepalive,
  )
  add('--tcp-reuse-port', 'let several processes listen on the same port')
  add('--tcp-only-v6', '[::] without IPv4')
  add('--tcp-listen-backlog <count>', 'connections that wait to be accepted', parseCount)
  add('--recv-buffer-size <bytes>', 'accepted and ignored', parseCount)
  add('--send-buffer-size <bytes>', 'accepted and ignored', parseCount)
}

export function addSocketOptions(command: Command): void {
  command
    .addOption(
      new Option('--unix-listen-chmod <who>', 'who may connect to a unix socket').choices(Object.keys(MODES)),
    )
    .addOption(
      new Option('--unix-listen-uid <uid>', 'owner of a unix socket, a number').argParser(parseCount),
    )
    .addOption(
      new Option('--unix-listen-gid <gid>', 'group of a unix socket, a number').argParser(parseCount),
    )
}

export function socketOwnership(options: SocketOptions): SocketOwnership {
  const { unixListenChmod: who, unixListenUid: uid, unixListenGid: gid } = options
  return { mode: who && MODES[who], uid, gid }
}

/** Says in one line what was asked for and Node cannot do. */
export function listenSettings(options: ListenOptions, logger: Logger): ListenSettings {
  const ignored = ignoredFlags(options)
  if (ignored.length > 0)
    logger.warn({ flags: ignored.join(', ') }, 'Node has no way to set this on a stream socket; ignored')
  const ownership = socketOwnership(options)
  return withoutUndefined({
    unixUnlink: options.unixListenUnlink,
    unixMode: ownership.mode,
    unixUid: ownership.uid,
    unixGid: ownership.gid,
    ignoreActivationEnvironment: options.sdAcceptIgnoreEnvironment,
    keepAliveMs: options.tcpKeepalive?.timeMs,
    reusePort: options.tcpReusePort,
    onlyV6: options.tcpOnlyV6,
    backlog: options.tcpListenBacklog,
  })
}

/** Reads the files that were named; throws `invalid-argument` for what is missing or wrong. */
export function serverSecurity(options: ListenOptions): Pick<GrpcServerParts, 'tls' | 'tokens'> {
  const { tlsCert: cert, tlsKey: key, tlsClientCa: clientCa, tokenFile } = options
  if ((cert === undefined) !== (key === undefined))
    throw new StoreError('invalid-argument', '--tls-cert and --tls-key go together')
  // Dropping it silently would let in whoever comes.
  if (clientCa !== undefined && cert === undefined)
    throw new StoreError('invalid-argument', '--tls-client-ca needs --tls-cert and --tls-key')
  return {
    tls: cert === undefined || key === undefined ? undefined : loadServerTls({ cert, key, clientCa }),
    tokens: tokenFile === undefined ? undefined : loadTokens(tokenFile),
  }
}

function ignoredFlags({ recvBufferSize, sendBufferSize, tcpKeepalive }: ListenOptions): string[] {
  return [
    ...(recvBufferSize === undefined ? [] : ['--recv-buffer-size']),
    ...(sendBufferSize === undefined ? [] : ['--send-buffer-size']),
    ...(tcpKeepalive?.hasMore ? ['count and interval of --tcp-keepalive'] : []),
  ]
}

function parseCount(text: string): number {
  if (!/^[0-9]{1,10}$/.test(text) || Number(text) > 2 ** 31 - 1)
    throw new InvalidArgumentError('it is a number from 0 to 2147483647.')
  return Number(text)
}

function parseKeepalive(text: string): Keepalive {
  const [time = '', count = '', interval = '', ...rest] = text.split(':')
  if (rest.length > 0)
    throw new InvalidArgumentError('it is time_ms:count:interval_ms, each of which may be empty.')
  for (const part of [time, count, interval]) if (part !== '') parseCount(part)
  return { timeMs: time === '' ? 0 : parseCount(time), hasMore: count !== '' || interval !== '' }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function withoutUndefined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>
}
