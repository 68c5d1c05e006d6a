import { StoreError } from '../support/errors.ts'
import { percentDecoded } from '../support/percent.ts'
import { withoutSecrets } from '../support/secrets.ts'

/** A gRPC peer as an address names it (spec §2.7). */
export interface GrpcAddress {
  /** As it was given, for messages. */
  readonly text: string
  /** In the syntax of gRPC name resolution: `dns:host:port` or `unix:/path`. */
  readonly target: string
  /** `undefined` for a connection in the clear; else the PEM files to use instead of the system's roots. */
  readonly tls: GrpcTlsFiles | undefined
  /** A file with the bearer token to show. */
  readonly tokenFile: string | undefined
  /** Whether the peer must answer before the channel counts as open. */
  readonly waitConnect: boolean
}

export interface GrpcTlsFiles {
  readonly ca: string | undefined
  readonly clientCert: string | undefined
  readonly clientKey: string | undefined
}

const PREFIX = 'grpc+'
const DEFAULT_PORT = { http: 80, https: 443 } as const

/**
 * Understands `grpc+http://host:port`, `grpc+https://host:port`, `grpc+unix:/path` and `grpc+unix:///path`, with
 * `?wait-connect=0|1`, `token-file=/path` and for https `tls-ca-cert-path`, `tls-client-cert-path`, `tls-client-key-path`. Throws
 * `invalid-argument`.
 */
export function parseGrpcAddress(text: string): GrpcAddress {
  if (!text.startsWith(PREFIX)) throw invalid(text, 'grpc+ prefix is missing')
  if (!URL.canParse(text)) throw invalid(text, 'not a URL')
  const url = new URL(text)
  const scheme = url.protocol.slice(PREFIX.length, -1)
  const waitConnect = parseWaitConnect(text, url.searchParams.get('wait-connect'))
  const tls = parseTls(text, url, scheme === 'https')
  const tokenFile = url.searchParams.get('token-file') ?? undefined
  const rest = { text, tls, tokenFile, waitConnect }
  if (scheme === 'unix') return { ...rest, target: unixTarget(text, url) }
  if (scheme === 'http' && tokenFile !== undefined && !isLoopback(url.hostname))
    throw invalid(text, 'the token would cross the network in the clear: token-file needs grpc+https')
  if (scheme === 'http' || scheme === 'https')
    return { ...rest, target: tcpTarget(text, url, DEFAULT_PORT[scheme]) }
  throw invalid(text, `unknown scheme grpc+${scheme}: there are grpc+http, grpc+https and grpc+unix`)
}

function unixTarget(text: string, url: URL): string {
  if (url.host !== '') throw invalid(text, 'host may not be set for unix domain sockets')
  if (!url.pathname.startsWith('/')) throw invalid(text, 'the path of the socket must be absolute')
  const path = percentDecoded(url.pathname)
  if (path !== undefined) return `unix:${path}`
  throw invalid(text, 'not a URL: a percent sign is followed by two hexadecimal digits')
}

function tcpTarget(text: string, url: URL, defaultPort: number): string {
  if (url.pathname !== '') throw invalid(text, 'path may not be set')
  if (url.hostname === '') throw invalid(text, 'host is missing')
  if (url.username !== '' || url.password !== '') throw invalid(text, 'user and password have no use here')
  return `dns:${url.hostname}:${url.port || defaultPort}`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host)
}

function parseWaitConnect(text: string, value: string | null): boolean {
  if (value === null || value === '0') return false
  if (value === '1') return true
  throw invalid(text, 'wait-connect is 0 or 1')
}

function parseTls(text: string, url: URL, secure: boolean): GrpcTlsFiles | undefined {
  const file = (name: string) => url.searchParams.get(name) ?? undefined
  const ca = file('tls-ca-cert-path')
  const clientCert = file('tls-client-cert-path')
  const clientKey = file('tls-client-key-path')
  // Dropping them silently would send in the clear what was meant to be protected.
  if (!secure && (ca || clientCert || clientKey)) throw invalid(text, 'tls parameters need grpc+https')
  if ((clientCert === undefined) !== (clientKey === undefined))
    throw invalid(text, 'tls-client-cert-path and tls-client-key-path go together')
  return secure ? { ca, clientCert, clientKey } : undefined
}

function invalid(text: string, why: string): StoreError {
  return new StoreError('invalid-argument', `invalid address ${withoutSecrets(text)}: ${why}`)
}
