import type { Permission } from '../listen/permissions.ts'

/** Health checks come from load balancers, which have no tokens and learn nothing but whether we are there. */
const FREE = '/grpc.health.v1.Health/'

const BY_METHOD: Readonly<Record<string, Permission>> = { Put: 'put', List: 'list' }

/** What a call of this HTTP/2 path needs; `undefined`: nothing. */
export function permissionFor(path: string): Permission | undefined {
  if (path.startsWith(FREE)) return undefined
  return BY_METHOD[path.slice(path.lastIndexOf('/') + 1)] ?? 'read'
}
