import type { Socket } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { StoreError, systemCode } from '../../support/errors.ts'
import { TLS_HANDSHAKE_MS_MAX } from '../../support/limits.ts'
import { readSettingsFile } from '../../support/settings-file.ts'

/** Paths of PEM files. */
export interface ServerTlsFiles {
  readonly cert: string
  readonly key: string
  /** With it, clients need a certificate that one of these authorities signed. */
  readonly clientCa: string | undefined
}

export interface TlsEvents {
  /** A connection whose handshake went well. */
  onSecure(socket: Socket): void
  /** One that did not come about, and why. */
  onFault(reason: string, peer: string | undefined): void
}

/** The files as they are now; throws `invalid-argument` for those that cannot be read or used. */
export function loadServerTls(files: ServerTlsFiles): TlsOptions {
  const { cert, key, clientCa } = files
  const options = {
    cert: readSettingsFile(cert),
    key: readSettingsFile(key),
    ...(clientCa !== undefined && {
      ca: readSettingsFile(clientCa),
      requestCert: true,
      rejectUnauthorized: true,
    }),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
    handshakeTimeout: TLS_HANDSHAKE_MS_MAX,
  } satisfies TlsOptions
  try {
    createServer(options).unref()
  } catch (error) {
    const paths = [cert, key, clientCa].filter((path) => path !== undefined).join(', ')
    const { message } = error as Error
    throw new StoreError('invalid-argument', `cannot use ${paths} for TLS: ${message}`, { cause: error })
  }
  return options
}

/**
 * Makes secure connections out of plain ones. It is no listener of its own, so that they may come from wherever
 * they come.
 */
export function createTlsAcceptor(options: TlsOptions, events: TlsEvents): (socket: Socket) => void {
  const peers = new WeakMap<Socket, string | undefined>()
  const server = createServer(options)
  server.on('secureConnection', (socket) => events.onSecure(socket))
  server.on('tlsClientError', (error, socket) =>
    events.onFault(reasonOf(error, socket), peerOf(socket, peers)),
  )
  return (socket) => {
    peers.set(socket, socket.remoteAddress)
    server.emit('connection', socket)
  }
}

/**
 * A socket that failed no longer knows who was at its other end. `_parent` is the connection beneath it; should a
 * release of Node rename it, the log says less.
 */
function peerOf(socket: TLSSocket, peers: WeakMap<Socket, string | undefined>): string | undefined {
  const { _parent } = socket as { _parent?: Socket }
  return _parent && peers.get(_parent)
}

const FAULTS: Readonly<Record<string, string>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'the client showed no certificate',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the client speaks no TLS',
  ERR_SSL_HTTP_REQUEST: 'the client speaks no TLS',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the client does not trust our certificate',
  // OpenSSL has renamed those that are as old as SSL 3.
  'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE': 'the client does not accept our certificate, or the name in it',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN': 'the client does not accept our certificate',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED': 'the client says that our certificate has expired',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the client did not finish the handshake in time',
  // How Node's own clients leave when they do not like a certificate.
  ECONNRESET: 'the client hung up during the handshake; it may not trust our certificate',
}

function reasonOf(error: Error, socket: TLSSocket): string {
  const code = systemCode(error) ?? ''
  // The types say Error, but a server is told OpenSSL's name of what is wrong with a certificate.
  if (socket.authorizationError) return `the client's certificate is not valid: ${socket.authorizationError}`
  const { reason } = error as { reason?: unknown }
  return FAULTS[code] ?? (typeof reason === 'string' ? reason : code)
}
