import { ValidationError } from '../../model/castore/validation-error.ts'
import { StoreError } from '../../support/errors.ts'
import { percentDecoded } from '../../support/percent.ts'
import { withoutSecrets } from '../../support/secrets.ts'
import { type BigtableAddress, parseBigtableUrl } from '../bigtable-address.ts'
import { type GrpcAddress, parseGrpcAddress } from '../grpc-address.ts'
import { BUCKET_SCHEMES, type BucketAddress, parseBucketUrl } from '../objects/bucket-address.ts'
import { type NixHttpAddress, parseNixHttpAddress } from '../pathinfos/nix-http-address.ts'

/** Which of the three services an address is for: each has backends of its own (spec §3.1). */
export type Role = 'blobs' | 'directories' | 'pathInfos'

/** Where a service keeps its data, as an address says it. */
export type StoreAddress =
  | { readonly kind: 'memory' }
  | { readonly kind: 'lmdb'; readonly path: string }
  | { readonly kind: 'files'; readonly path: string }
  | { readonly kind: 'packs'; readonly path: string }
  | { readonly kind: 'object-memory' }
  | { readonly kind: 'object-file'; readonly path: string }
  | { readonly kind: 'bucket'; readonly bucket: BucketAddress }
  | { readonly kind: 'bigtable'; readonly bigtable: BigtableAddress }
  | { readonly kind: 'grpc'; readonly grpc: GrpcAddress }
  | SubstitutingAddress

/** Binary caches, and the service that keeps what came from them. */
export interface SubstitutingAddress {
  readonly kind: 'substituting'
  readonly near: StoreAddress | undefined
  /** At least one. */
  readonly caches: readonly NixHttpAddress[]
}

const FORMS = {
  memory: 'memory:',
  lmdb: 'lmdb:///path',
  files: 'files:///path',
  packs: 'packs:///path',
  objectstore:
    'objectstore+file:///path, objectstore+s3://bucket/prefix (or gs, az, abfs, http, https), objectstore+memory:',
  bigtable: 'bigtable://instance?project_id=…&table_name=…&family_name=…',
  nix: 'nix+https://cache',
  grpc: 'grpc+http://host:port, grpc+https://host:port or grpc+unix:///path',
} as const

const SCHEMES: Readonly<Record<Role, readonly (keyof typeof FORMS)[]>> = {
  blobs: ['memory', 'packs', 'files', 'objectstore', 'grpc'],
  directories: ['memory', 'lmdb', 'objectstore', 'bigtable', 'grpc'],
  pathInfos: ['memory', 'lmdb', 'bigtable', 'nix', 'grpc'],
}

const ROLE_NAMES: Readonly<Record<Role, string>> = {
  blobs: 'blobs',
  directories: 'directories',
  pathInfos: 'path infos',
}

/** Schemes of the Rust implementation (spec §3.2 to §3.7) that we do not have. */
const UNSUPPORTED = new Set(['cache', 'combined', 'priority', 'lru', 'keyfile-signing'])

/**
 * Understands an address of path infos that may be several, with white space between them: binary caches, and before
 * them the service that keeps what comes from them. Throws as `parseAddress` does.
 */
export function parsePathInfoAddress(text: string): StoreAddress {
  const words = text.split(/\s+/).filter((word) => word !== '')
  const first = words.findIndex(isNixAddress)
  if (first < 0) return parseAddress('pathInfos', text)
  if (first > 1 || !words.slice(first).every(isNixAddress))
    throw invalid('pathInfos', text, 'of several, all but the first are binary caches (nix+https://…)')
  const [near, caches] = [words.slice(0, first), words.slice(first)]
  return {
    kind: 'substituting',
    near: near[0] === undefined ? undefined : parseAddress('pathInfos', near[0]),
    caches: caches.map(parseNixHttpAddress),
  }
}

function isNixAddress(word: string): boolean {
  return /^nix\+/i.test(word)
}

/**
 * Understands an address, in the spellings of all three trees (spec §2.7, §3.2 to §3.7). Throws ValidationError
 * `InvalidAddress` (or `invalid-argument` for gRPC) when it is malformed, `unimplemented` when it names a backend
 * that this build lacks.
 */
export function parseAddress(role: Role, text: string): StoreAddress {
  const { scheme, rest } = splitScheme(role, text)
  const [backend] = scheme.split('+', 1)
  if (backend === 'redb') return inMemoryOfRedb(role, text)
  if (UNSUPPORTED.has(backend!)) throw unsupported(text)
  if (!SCHEMES[role].some((known) => known === backend)) throw invalid(role, text, `unknown scheme ${scheme}`)
  if (backend === 'nix') return { kind: 'substituting', near: undefined, caches: [parseNixHttpAddress(text)] }
  if (backend === 'grpc') return { kind: 'grpc', grpc: parseGrpcAddress(text) }
  if (backend === 'objectstore')
    return parseObjectStore(role, text, scheme.slice('objectstore+'.length), rest)
  if (scheme !== backend) throw invalid(role, text, `unknown scheme ${scheme}`)
  if (scheme === 'bigtable')
    return { kind: 'bigtable', bigtable: understood(role, text, () => parseBigtableUrl(`${scheme}:${rest}`)) }
  if (scheme === 'lmdb' || scheme === 'files' || scheme === 'packs')
    return { kind: scheme, path: absolutePath(role, text, rest) }
  if (rest !== '' && rest !== '//') throw invalid(role, text, 'memory has no host and no path')
  return { kind: 'memory' }
}

function parseObjectStore(role: Role, text: string, inner: string, rest: string): StoreAddress {
  if (BUCKET_SCHEMES.has(inner))
    return { kind: 'bucket', bucket: understood(role, text, () => parseBucketUrl(`${inner}:${rest}`)) }
  if (inner === 'file') return { kind: 'object-file', path: absolutePath(role, text, rest) }
  if (inner !== 'memory') throw invalid(role, text, `unknown object store ${inner || '(none)'}`)
  // The path of a memory store says where in it the objects are; as every one is private, that changes nothing.
  if (splitPath(role, text, rest).host !== '') throw invalid(role, text, 'memory has no host')
  return { kind: 'object-memory' }
}

/** What a parser of its own found wrong, with the address, less its secrets, in front. */
function understood<T>(role: Role, text: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw invalid(role, withoutSecrets(text), StoreError.from(error).message)
  }
}

function splitScheme(role: Role, text: string): { scheme: string; rest: string } {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(text)
  if (!match) throw invalid(role, text, 'it has no scheme')
  return { scheme: match[1]!.toLowerCase(), rest: match[2]! }
}

/** The path of `:/path` and of `:///path`, decoded. Where it leads is for the one who opens it to find out. */
function absolutePath(role: Role, text: string, rest: string): string {
  const { host, path } = splitPath(role, text, rest)
  if (host !== '')
    throw invalid(
      role,
      text,
      `${host.replace(/^.*@/, '')} stands in the place of a host; three slashes begin a path`,
    )
  if (!path.startsWith('/')) throw invalid(role, text, 'the path must be absolute')
  if (/^\/+$/.test(path)) throw invalid(role, text, 'the path is missing')
  return path
}

function splitPath(role: Role, text: string, rest: string): { host: string; path: string } {
  if (/[?#]/.test(rest)) throw invalid(role, text, 'it takes no parameters (write ? as %3F and # as %23)')
  const [, host = '', encoded = ''] = /^(?:\/\/([^/]*))?(.*)$/s.exec(rest)!
  const path = percentDecoded(encoded)
  if (path === undefined || path.includes('\0')) throw invalid(role, text, 'its path is not well-formed')
  return { host, path }
}

function invalid(role: Role, text: string, why: string): ValidationError {
  const forms = SCHEMES[role].map((scheme) => FORMS[scheme]).join(', ')
  const what = text === '' ? 'an empty address' : withoutSecrets(text)
  return new ValidationError(
    'InvalidAddress',
    `${what} is no address for ${ROLE_NAMES[role]}: ${why}; expected ${forms}`,
  )
}

function unsupported(text: string): StoreError {
  return new StoreError(
    'unimplemented',
    `${withoutSecrets(text.replace(/[?#].*$/s, ''))}: not supported in this build`,
  )
}

/** One in memory (`redb://`, or `redb+memory:` in later trees) is as good as any; there are none for blobs. */
function inMemoryOfRedb(role: Role, text: string): StoreAddress {
  if (role !== 'blobs' && /^(redb:\/\/|redb\+memory:)$/i.test(text)) return { kind: 'memory' }
  throw redbIsNotOurs(text)
}

function redbIsNotOurs(text: string): StoreError {
  return new StoreError(
    'unimplemented',
    `${withoutSecrets(text)}: redb files belong to the Rust implementation; use lmdb:///path instead. To take the data along, serve the file with the Rust tvix-store and copy it over gRPC`,
  )
}
