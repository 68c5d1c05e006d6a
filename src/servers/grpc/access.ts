import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from '@grpc/grpc-js'
import type { FaultLog } from '../../support/fault-log.ts'
import type { ListenerRole } from '../listen/listen-address.ts'
import { type Permission, roleAgainst } from '../listen/permissions.ts'
import type { Tokens } from '../listen/tokens.ts'
import { permissionFor } from './method-permission.ts'

export interface AccessRules {
  /** The listener, for messages. */
  readonly listener: string
  readonly roles: readonly ListenerRole[]
  /** `undefined`: whoever can connect may do whatever the listener allows. */
  readonly tokens: Tokens | undefined
  readonly faults: FaultLog
}

/**
 * Decides over every call that comes in by one listener, before its handler hears of it. It knows methods by their
 * paths, so that one which is added needs at least the permission to read.
 */
export function accessInterceptor(rules: AccessRules): ServerInterceptor {
  return ({ path }, call) => {
    const permission = permissionFor(path)
    const role = permission && roleAgainst(permission, rules.roles)
    // Only what is guarded is wrapped, which costs something for each message. (The declared type of the result is
    // narrower than what grpc-js does with it, which is to hand it to the next interceptor.)
    if (!permission || (!role && !rules.tokens)) return call as ServerInterceptingCall
    const procedure = path.slice(1)
    const peer = call.getPeer()
    const refusal = (metadata: Metadata) =>
      role
        ? denied(`${procedure}: not permitted on ${rules.listener}, which is ${role}`)
        : refuseToken(rules, metadata, permission, procedure, peer)
    return guard(call, refusal)
  }
}

interface Refusal {
  readonly code: number
  readonly details: string
}

type GuardedCall = ConstructorParameters<typeof ServerInterceptingCall>[0]

function guard(call: GuardedCall, refusal: (metadata: Metadata) => Refusal | undefined) {
  return new ServerInterceptingCall(call, {
    start(next) {
      const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, proceed) => {
        const status = refusal(metadata)
        if (status) call.sendStatus(status)
        else proceed(metadata)
      })
      next(listener.build())
    },
  })
}

function refuseToken(
  { tokens, listener, faults }: AccessRules,
  metadata: Metadata,
  permission: Permission,
  procedure: string,
  peer: string,
): Refusal | undefined {
  const token = bearerToken(metadata)
  const permissions = token === undefined ? undefined : tokens?.permissionsOf(token)
  if (!permissions) {
    const reason = token === undefined ? 'a bearer token is needed' : 'the bearer token is not known here'
    faults.warn({ listener, peer: peer.replace(/:[0-9]+$/, ''), reason }, 'refused a client')
    return { code: status.UNAUTHENTICATED, details: `${procedure}: ${reason}` }
  }
  if (permissions.has(permission)) return undefined
  return denied(`${procedure}: the bearer token does not allow to ${permission}`)
}

function bearerToken(metadata: Metadata): string | undefined {
  const [value] = metadata.get('authorization')
  const match = typeof value === 'string' ? /^Bearer +(\S+)$/i.exec(value) : null
  return match?.[1]
}

function denied(details: string): Refusal {
  return { code: status.PERMISSION_DENIED, details }
}
