import type { ListenerRole } from './listen-address.ts'

/** What a call or request needs: one of them, whatever the protocol. */
export const PERMISSIONS = ['read', 'put', 'list'] as const
export type Permission = (typeof PERMISSIONS)[number]

const TAKEN_AWAY: Readonly<Record<ListenerRole, Permission>> = { 'read-only': 'put', 'no-list': 'list' }

/** The role of a listener that forbids something, if one does. */
export function roleAgainst(
  permission: Permission,
  roles: readonly ListenerRole[],
): ListenerRole | undefined {
  return roles.find((role) => TAKEN_AWAY[role] === permission)
}
