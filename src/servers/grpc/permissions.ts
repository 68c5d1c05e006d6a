import type { ListenerRole } from './listen-address.ts'

/** What a call needs; every method needs one of them. */
export const PERMISSIONS = ['read', 'put', 'list'] as const
export type Permission = (typeof PERMISSIONS)[number]

/** Health checks come from load balancers, which have no tokens and learn nothing but whether we are there. */
const FREE = '/grpc.health.v1.Health/'

const BY_METHOD: Readonly<Record<string, Permission>> = { Put: 'put', List: 'list' }

/** What a call of this HTTP/2 path needs; `undefined`: nothing. */
export function permissionFor(path: string): Permission | undefined {
  if (path.startsWith(FREE)) return undefined
  return BY_METHOD[path.slice(path.lastIndexOf('/') + 1)] ?? 'read'
}

const TAKEN_AWAY: Readonly<Record<ListenerRole, Permission>> = { 'read-only': 'put', 'no-list': 'list' }

/** The role of a listener that forbids something, if one does. */
export function roleAgainst(
  permission: Permission,
  roles: readonly ListenerRole[],
): ListenerRole | undefined {
  return roles.find((role) => TAKEN_AWAY[role] === permission)
}
