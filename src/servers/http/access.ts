import type { IncomingHttpHeaders } from 'node:http'
import type { FaultLog } from '../../support/fault-log.ts'
import type { ListenerRole } from '../listen/listen-address.ts'
import { PERMISSIONS, type Permission, roleAgainst } from '../listen/permissions.ts'
import type { Tokens } from '../listen/tokens.ts'
import { Refusal } from './fault-reply.ts'

export interface AccessRules {
  /** The listener, for messages. */
  readonly listener: string
  readonly roles: readonly ListenerRole[]
  /** `undefined`: whoever can connect may do whatever the listener allows. */
  readonly tokens: Tokens | undefined
  /** With tokens: whether those without one may read. */
  readonly anonymousRead: boolean
  readonly faults: FaultLog
}

const CHALLENGE = { 'www-authenticate': 'Basic realm="tvix-store", Bearer realm="tvix-store"' }

/** What a client may do, by the listener and by its token. Throws a Refusal unless that includes what it wants. */
export function permissionsFor(
  rules: AccessRules,
  headers: IncomingHttpHeaders,
  wanted: Permission,
  peer: string | undefined,
): ReadonlySet<Permission> {
  const role = roleAgainst(wanted, rules.roles)
  if (role) throw new Refusal(403, `not permitted on this listener, which is ${role}`)
  const granted = grantedTo(rules, headers)
  if (granted?.has(wanted))
    return new Set([...granted].filter((permission) => !roleAgainst(permission, rules.roles)))
  const token = tokenOf(headers.authorization)
  if (token !== undefined && rules.tokens?.permissionsOf(token))
    throw new Refusal(403, `the token does not allow to ${wanted}`)
  const reason = token === undefined ? 'a token is needed' : 'the token is not known here'
  // Clients that know their password from a netrc file first ask without it.
  if (token !== undefined) rules.faults.warn({ listener: rules.listener, peer, reason }, 'refused a client')
  throw new Refusal(401, `${reason}, as a bearer token or as the password of basic authentication`, CHALLENGE)
}

const EVERYTHING: ReadonlySet<Permission> = new Set(PERMISSIONS)
const READING: ReadonlySet<Permission> = new Set(['read'])

function grantedTo(
  { tokens, anonymousRead }: AccessRules,
  headers: IncomingHttpHeaders,
): ReadonlySet<Permission> | undefined {
  if (!tokens) return EVERYTHING
  const token = tokenOf(headers.authorization)
  const granted = token === undefined ? undefined : tokens.permissionsOf(token)
  return granted ?? (anonymousRead && token === undefined ? READING : undefined)
}

/** Of `Bearer <token>`, or the password of `Basic`: that is what Nix makes of a netrc file. */
function tokenOf(authorization: string | undefined): string | undefined {
  const [, scheme, value = ''] = /^(bearer|basic) +(\S+)$/i.exec(authorization ?? '') ?? []
  if (scheme?.toLowerCase() !== 'basic') return scheme && value
  const pair = Buffer.from(value, 'base64').toString('utf8')
  return pair.slice(pair.indexOf(':') + 1)
}
