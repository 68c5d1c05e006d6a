import { StoreError } from '../../support/errors.ts'

/** What a listener takes away from everybody who comes in by it, whatever their token allows. */
const LISTENER_ROLES = ['read-only', 'no-list'] as const
export type ListenerRole = (typeof LISTENER_ROLES)[number]

/** Where to listen, as an address of spec §4.2 says it. */
export interface ListenEndpoint {
  /** As it was given, without the roles; for messages. */
  readonly text: string
  readonly place: ListenPlace
  readonly roles: readonly ListenerRole[]
}

export type ListenPlace =
  | { readonly kind: 'port'; readonly host: string; readonly port: number }
  /** A file, or `\0name` for a socket of the abstract namespace (unix(7)). */
  | { readonly kind: 'unix'; readonly path: string }
  /** From the service manager: the first socket, those of a name, or `*` for all. */
  | { readonly kind: 'inherited'; readonly selection: string | undefined }

const HOST_AND_PORT = /^(?:\[(?<v6>[0-9a-fA-F:.%a-z]+)\]|(?<host>[^:[\]/]+)):(?<port>[0-9]{1,5})$/
const INHERITED = /^(?:sd-listen|sd_listen)(?::(?<selection>.+))?$/
const PORT_MAX = 65_535

/**
 * Understands `host:port`, `[v6 address]:port`, `/path` and `./path`, `@abstract`, `sd-listen`, `sd-listen:<name>`
 * and `sd-listen:*`, each with `?role=read-only,no-list` or without. Throws `invalid-argument`.
 */
export function parseListenAddress(address: string): ListenEndpoint {
  const [text, query] = splitOnce(address, '?')
  return { text, place: parsePlace(text), roles: parseRoles(address, query) }
}

function parsePlace(text: string): ListenPlace {
  if (text.startsWith('/') || text.startsWith('.')) return { kind: 'unix', path: text }
  if (text.startsWith('@') && text.length > 1) return { kind: 'unix', path: `\0${text.slice(1)}` }
  if (text === 'inetd')
    throw invalid(text, 'there is no inetd mode: let systemd pass the listening socket, and give sd-listen')
  const inherited = INHERITED.exec(text)
  if (inherited) return { kind: 'inherited', selection: inherited.groups?.['selection'] }
  const { v6, host, port } = HOST_AND_PORT.exec(text)?.groups ?? {}
  if (port === undefined || Number(port) > PORT_MAX)
    throw invalid(
      text,
      'give host:port, [v6 address]:port, a path that begins with / or ., @name for an abstract socket, or sd-listen',
    )
  return { kind: 'port', host: (v6 ?? host)!, port: Number(port) }
}

function parseRoles(address: string, query: string | undefined): ListenerRole[] {
  const roles: ListenerRole[] = []
  for (const [key, value] of new URLSearchParams(query)) {
    if (key !== 'role') throw invalid(address, `unknown parameter ${key}: there is role`)
    for (const word of value.split(',')) {
      const role = LISTENER_ROLES.find((known) => known === word)
      // A role that is misspelt and ignored would leave open what was meant to be closed.
      if (!role) throw invalid(address, `unknown role "${word}": there are ${LISTENER_ROLES.join(' and ')}`)
      roles.push(role)
    }
  }
  return roles
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

function invalid(address: string, why: string): StoreError {
  return new StoreError('invalid-argument', `cannot listen on ${address}: ${why}`)
}
