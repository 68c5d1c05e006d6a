import { createHash, timingSafeEqual } from 'node:crypto'
import { StoreError } from '../../support/errors.ts'
import { TOKENS_MAX } from '../../support/limits.ts'
import { readSettingsFile } from '../../support/settings-file.ts'
import { PERMISSIONS, type Permission } from './permissions.ts'

const ROLES = {
  read: ['read'],
  put: ['read', 'put'],
  list: ['read', 'list'],
  admin: PERMISSIONS,
} as const satisfies Record<string, readonly Permission[]>

/** Bearer tokens and what each allows. Only their hashes are kept. */
export interface Tokens {
  /** What the token allows; `undefined` for one that nobody gave out. */
  permissionsOf(token: string): ReadonlySet<Permission> | undefined
}

interface Known {
  readonly hash: Buffer
  readonly permissions: ReadonlySet<Permission>
}

/**
 * Reads `role:token` lines, where the role is read, put (which can also read), list (which can also read) or admin
 * (everything), or several of them with commas. Empty lines and those that begin with # say nothing. Throws
 * `invalid-argument` that names the line, and never what is in it.
 */
export function loadTokens(path: string): Tokens {
  const known: Known[] = []
  for (const [index, line] of readLines(path).entries()) {
    if (line === '' || line.startsWith('#')) continue
    known.push(parseLine(line, `${path}, line ${index + 1}`))
  }
  if (known.length === 0) throw new StoreError('invalid-argument', `${path}: there is no token in it`)
  if (known.length > TOKENS_MAX)
    throw new StoreError(
      'exhausted',
      `${path}: ${known.length} tokens, and at most ${TOKENS_MAX} are checked`,
    )
  return { permissionsOf: (token) => find(known, token) }
}

/** Looks at all of them, each for as long as any other: the time it takes tells nothing of how close a guess was. */
function find(known: readonly Known[], token: string): ReadonlySet<Permission> | undefined {
  const hash = hashOf(token)
  let found: ReadonlySet<Permission> | undefined
  for (const { hash: expected, permissions } of known)
    if (timingSafeEqual(hash, expected)) found = permissions
  return found
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

function readLines(path: string): string[] {
  const text = readSettingsFile(path).toString('utf8')
  return text.split('\n').map((line) => line.trim())
}

/** `token68` of RFC 7235, which is what fits behind `Bearer`. */
const LINE = /^(?<roles>[a-z]+(?:,[a-z]+)*):(?<token>[A-Za-z0-9._~+/-]+=*)$/

function parseLine(line: string, where: string): Known {
  const { roles, token } = LINE.exec(line)?.groups ?? {}
  if (!roles || !token)
    throw new StoreError(
      'invalid-argument',
      `${where}: it is not role:token, with letters, digits and ._~+/-=`,
    )
  const permissions = new Set<Permission>()
  for (const role of roles.split(',')) {
    if (!Object.hasOwn(ROLES, role))
      throw new StoreError(
        'invalid-argument',
        `${where}: the role is one of ${Object.keys(ROLES).join(', ')}`,
      )
    for (const permission of ROLES[role as keyof typeof ROLES]) permissions.add(permission)
  }
  return { hash: hashOf(token), permissions }
}
