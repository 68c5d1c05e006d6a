import { readFile } from 'node:fs/promises'
import { SigningKey, VerifyingKey } from '../../model/nix/signing-key.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import {
  CHUNK_BYTES_AVG_MAX,
  CHUNK_BYTES_AVG_MIN,
  DISK_CACHE_BYTES,
  LRU_ENTRIES_MAX,
  SOURCE_SECONDS_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { cacheBlobService } from '../blobs/cache.ts'
import { combinedBlobService } from '../blobs/combined.ts'
import { openDiskCache } from '../blobs/disk-cache.ts'
import type { BlobService } from '../blobs/interface.ts'
import { priorityBlobService } from '../blobs/priority.ts'
import { readOnlyBlobService } from '../blobs/read-only.ts'
import { writeBackBlobService } from '../blobs/write-back.ts'
import { writeThroughBlobService } from '../blobs/write-through.ts'
import { cacheDirectoryService } from '../directories/cache.ts'
import type { DirectoryService } from '../directories/interface.ts'
import { lruDirectoryService } from '../directories/lru.ts'
import { priorityDirectoryService } from '../directories/priority.ts'
import { readOnlyDirectoryService } from '../directories/read-only.ts'
import { writeBackDirectoryService } from '../directories/write-back.ts'
import { writeThroughDirectoryService } from '../directories/write-through.ts'
import { cachePathInfoService } from '../pathinfos/cache.ts'
import type { ProveContentAddress } from '../pathinfos/content-address-proofs.ts'
import type { PathInfoService } from '../pathinfos/interface.ts'
import { lruPathInfoService } from '../pathinfos/lru.ts'
import { priorityPathInfoService } from '../pathinfos/priority.ts'
import { readOnlyPathInfoService } from '../pathinfos/read-only.ts'
import { signatureCheckingPathInfoService } from '../pathinfos/signature-checking.ts'
import { signingPathInfoService } from '../pathinfos/signing.ts'
import { writeBackPathInfoService } from '../pathinfos/write-back.ts'
import { writeThroughPathInfoService } from '../pathinfos/write-through.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { WriteQueue } from '../write-queue.ts'
import type { Role } from './address.ts'
import type { OpenLocalFile } from './stores.ts'

/**
 * What a field may hold. `reference`: another instance of the same section, or an address; `references`: several
 * under whole numbers, in ascending order. `count`: a whole number above 0. `options`: names with texts.
 */
export type FieldType = 'text' | 'texts' | 'count' | 'flag' | 'options' | 'reference' | 'references'

export interface Field {
  readonly type: FieldType
  /** Which counts it takes, when not all. */
  readonly only?: { readonly has: (count: number) => boolean; readonly expected: string }
  readonly required?: true
  /** The section that a reference leads to, when that is another one. */
  readonly to?: Role
}

export interface ServiceOf {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
}

/** What a layer is made of. */
export interface Parts<S> {
  /** The instance that a reference field names. */
  source(field: string): Source<S>
  /** All that a field of several names, in order. */
  sources(field: string): readonly Source<S>[]
  /** A set of sources with the settings of this instance. */
  set(sources: readonly Source<S>[]): SourceSet<S>
  text(field: string): string
  texts(field: string): readonly string[]
  /** Reads contents from the services that `blob_service` and `directory_service` lead to. */
  readonly proveContentAddress: ProveContentAddress
  count(field: string): number | undefined
  /** The queue at the path in the field `queue`; all layers that name the same share it. */
  queue(): Promise<WriteQueue>
  /** To be closed with the stores. */
  use<T extends AsyncDisposable>(opened: T): T
  /** Of the service at the root only: whole blobs as files, for who can make use of them. */
  offerLocalFiles(open: OpenLocalFile): void
  /** What this instance is called in messages. */
  readonly name: string
  readonly logger: Logger
}

type Layer<R extends Role> = (parts: Parts<ServiceOf[R]>) => ServiceOf[R] | Promise<ServiceOf[R]>

/** A kind of service: a backend that an address names, or a layer over others. */
export type Kind = BackendKind | LayerKind

export interface BackendKind {
  readonly fields: Readonly<Record<string, Field>>
  readonly roles: readonly Role[]
  /** The address that says the same (address.ts); so a backend that has an address is in composition files, too. */
  address(fields: ReadonlyMap<string, unknown>): string
}

export interface LayerKind extends Layers {
  readonly fields: Readonly<Record<string, Field>>
  /** The field that names the side which writes go to in the end. */
  readonly writesTo?: string
  /** The field that names the side which must still have tomorrow what is written to it now. */
  readonly durable?: string
}

/** How a kind is built, for each role that it can have. */
export type Layers = { readonly [R in Role]?: Layer<R> }

const TEXT: Field = { type: 'text' }
const REQUIRED: Field = { type: 'text', required: true }
const REFERENCE: Field = { type: 'reference', required: true }
/** Seconds without an answer after which a source counts as failed; ours alone. */
const TIMEOUT: Readonly<Record<'timeout', Field>> = {
  timeout: { type: 'count', only: upTo(SOURCE_SECONDS_MAX) },
}

/** For others, versions of the Rust library cut in different places (spec §3.3). */
const CHUNK_SIZES: Field['only'] = {
  has: (size) =>
    size >= CHUNK_BYTES_AVG_MIN && size <= CHUNK_BYTES_AVG_MAX && Number.isInteger(Math.log2(size)),
  expected: `a power of two from ${CHUNK_BYTES_AVG_MIN} to ${CHUNK_BYTES_AVG_MAX}`,
}

const ALL: readonly Role[] = ['blobs', 'directories', 'pathInfos']

/** Every kind there is, by the `type` of a composition file (spec §3.8), which is the scheme of an address, too. */
export const KINDS: Readonly<Record<string, Kind>> = {
  memory: { roles: ALL, fields: {}, address: () => 'memory:' },
  lmdb: {
    roles: ['directories', 'pathInfos'],
    fields: { path: REQUIRED },
    address: (fields) => `lmdb://${encodePath(`${fields.get('path')}`)}`,
  },
  files: {
    roles: ['blobs'],
    fields: { path: REQUIRED },
    address: (fields) => `files://${encodePath(`${fields.get('path')}`)}`,
  },
  packs: {
    roles: ['blobs'],
    fields: { path: REQUIRED },
    address: (fields) => `packs://${encodePath(`${fields.get('path')}`)}`,
  },
  redb: {
    roles: ['directories', 'pathInfos'],
    fields: {
      path: TEXT,
      is_temporary: { type: 'flag' },
      cache_size: { type: 'count' },
      read_only: { type: 'flag' },
    },
    // Without a path, or when it says so, in memory (spec §3.8).
    address: (fields) => `redb://${fields.get('is_temporary') === true ? '' : (fields.get('path') ?? '')}`,
  },
  grpc: {
    roles: ALL,
    fields: { url: REQUIRED },
    address: (fields) => prefixed('grpc+', fields.get('url')),
  },
  objectstore: {
    roles: ['blobs', 'directories'],
    fields: {
      object_store_url: REQUIRED,
      object_store_options: { type: 'options' },
      avg_chunk_size: { type: 'count', only: CHUNK_SIZES },
    },
    address: (fields) =>
      withQuery(prefixed('objectstore+', fields.get('object_store_url')), fields.get('object_store_options')),
  },
  bigtable: {
    roles: ['directories', 'pathInfos'],
    fields: {
      instance_name: REQUIRED,
      project_id: REQUIRED,
      table_name: REQUIRED,
      family_name: REQUIRED,
      is_read_only: { type: 'flag' },
      channel_size: { type: 'count' },
      timeout: { type: 'count' },
      app_profile_id: TEXT,
    },
    address: (fields) => {
      const { instance_name, ...rest } = Object.fromEntries(fields)
      return withQuery(`bigtable://${encodeURIComponent(`${instance_name}`)}`, rest)
    },
  },
  nix: {
    roles: ['pathInfos'],
    fields: {
      base_url: REQUIRED,
      blob_service: { type: 'reference', to: 'blobs' },
      directory_service: { type: 'reference', to: 'directories' },
      public_keys: { type: 'texts' },
      trusted_public_keys: { type: 'texts' },
      force_download_nar: { type: 'flag' },
    },
    address: nixAddress,
  },

  combined: {
    fields: { local: REFERENCE, remote: REFERENCE, ...TIMEOUT },
    writesTo: 'local',
    blobs: ({ source, set }) =>
      combinedBlobService(source('local').service, set([source('local'), source('remote')])),
  },
  cache: {
    fields: { near: REFERENCE, far: REFERENCE, ...TIMEOUT },
    writesTo: 'near',
    blobs: ({ source, set }) => {
      const [near, far] = [source('near'), source('far')]
      return cacheBlobService(near, far, set([near, far]))
    },
    directories: ({ source, set }) => {
      const [near, far] = [source('near'), source('far')]
      return cacheDirectoryService(near, far, set([near, far]))
    },
    pathInfos: ({ source, set }) => {
      const [near, far] = [source('near'), source('far')]
      return cachePathInfoService(near, far, set([near, far]))
    },
  },
  'write-through': {
    fields: { near: REFERENCE, far: REFERENCE, ...TIMEOUT },
    writesTo: 'far',
    blobs: ({ source, set }) => {
      const [near, far] = [source('near'), source('far')]
      const both = set([near, far])
      return writeThroughBlobService(cacheBlobService(near, far, both), near, far, both)
    },
    directories: ({ source, set }) => {
      const [near, far] = [source('near'), source('far')]
      const both = set([near, far])
      return writeThroughDirectoryService(cacheDirectoryService(near, far, both), near, far, both)
    },
    pathInfos: ({ source, set }) => {
      const [near, far] = [source('near'), source('far')]
      const both = set([near, far])
      return writeThroughPathInfoService(cachePathInfoService(near, far, both), near, far, both)
    },
  },
  'write-back': {
    fields: { near: REFERENCE, far: REFERENCE, queue: REQUIRED, ...TIMEOUT },
    writesTo: 'far',
    durable: 'near',
    blobs: async ({ source, set, queue }) => {
      const [near, far] = [source('near'), source('far')]
      return writeBackBlobService(priorityBlobService(set([near, far])), near, far, await queue())
    },
    directories: async ({ source, set, queue }) => {
      const [near, far] = [source('near'), source('far')]
      return writeBackDirectoryService(priorityDirectoryService(set([near, far])), near, far, await queue())
    },
    pathInfos: async ({ source, set, queue }) => {
      const [near, far] = [source('near'), source('far')]
      return writeBackPathInfoService(priorityPathInfoService(set([near, far])), near, far, await queue())
    },
  },
  priority: {
    fields: { services: { type: 'references', required: true }, ...TIMEOUT },
    blobs: ({ sources, set }) => priorityBlobService(set(sources('services'))),
    directories: ({ sources, set }) => priorityDirectoryService(set(sources('services'))),
    pathInfos: ({ sources, set }) => priorityPathInfoService(set(sources('services'))),
  },
  'read-only': {
    fields: { inner: REFERENCE },
    blobs: ({ source }) => readOnlyBlobService(source('inner').service, source('inner').name),
    directories: ({ source }) => readOnlyDirectoryService(source('inner').service, source('inner').name),
    pathInfos: ({ source }) => readOnlyPathInfoService(source('inner').service, source('inner').name),
  },
  'cache-dir': {
    fields: { far: REFERENCE, path: REQUIRED, size: { type: 'count' } },
    writesTo: 'far',
    blobs: async ({ source, set, text, count, logger, use, offerLocalFiles }) => {
      const far = source('far')
      const bytesMax = count('size') ?? DISK_CACHE_BYTES
      const cache = use(await openDiskCache(far, { path: text('path'), bytesMax, faults: set([]), logger }))
      offerLocalFiles((digest, call) => cache.openLocalFile(digest, call))
      return cache
    },
  },
  verifying: {
    fields: {
      inner: REFERENCE,
      trusted_public_keys: { type: 'texts', required: true },
      blob_service: { type: 'reference', to: 'blobs' },
      directory_service: { type: 'reference', to: 'directories' },
    },
    writesTo: 'inner',
    pathInfos: async ({ source, texts, proveContentAddress, use, logger }) => {
      const { ContentAddressProofs } = await import('../pathinfos/content-address-proofs.ts')
      const { service, name } = source('inner')
      const keys = readPublicKeys(texts('trusted_public_keys'))
      const contentAddresses = use(new ContentAddressProofs(proveContentAddress))
      return signatureCheckingPathInfoService(service, name, { keys, contentAddresses, logger })
    },
  },
  lru: {
    fields: { capacity: { type: 'count', required: true, only: upTo(LRU_ENTRIES_MAX) } },
    directories: ({ count }) => lruDirectoryService(count('capacity')!),
    pathInfos: ({ count }) => lruPathInfoService(count('capacity')!),
  },
  'keyfile-signing': {
    fields: { inner: REFERENCE, keyfile: REQUIRED },
    writesTo: 'inner',
    pathInfos: async ({ source, text }) =>
      signingPathInfoService(source('inner').service, [await readSigningKey(text('keyfile'))]),
  },
}

function upTo(max: number): NonNullable<Field['only']> {
  return { has: (count) => count <= max, expected: `a whole number from 1 to ${max}` }
}

export function rolesOf(kind: Kind): readonly Role[] {
  return 'roles' in kind ? kind.roles : ALL.filter((role) => kind[role])
}

/** Without any key nothing could ever be shown, which nobody can mean. */
function readPublicKeys(texts: readonly string[]): VerifyingKey[] {
  if (texts.length === 0) throw new StoreError('invalid-argument', 'trusted_public_keys names no key')
  return texts.map((text) => {
    try {
      return VerifyingKey.parse(text)
    } catch (error) {
      // Just its name: it may be the secret half that was given by mistake.
      throw withContext(`trusted public key ${JSON.stringify(text.replace(/:.*/s, ''))}`, error)
    }
  })
}

async function readSigningKey(path: string): Promise<SigningKey> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new StoreError('not-found', `cannot read the key file ${path}: ${(error as Error).message}`)
  }
  return SigningKey.parse(text.trim())
}

function nixAddress(fields: ReadonlyMap<string, unknown>): string {
  const keys = [fields.get('public_keys'), fields.get('trusted_public_keys')].flat().filter(Boolean)
  const query = new URLSearchParams()
  // `blob_service` and `directory_service` are references: whoever opens it knows what they stand for.
  for (const key of keys) query.append('trusted-public-keys', `${key}`)
  if (fields.get('force_download_nar') === true) query.append('force_download_nar', 'true')
  const text = query.toString().replaceAll('+', '%20')
  return `${prefixed('nix+', fields.get('base_url'))}${text && `?${text}`}`
}

function prefixed(prefix: string, value: unknown): string {
  return `${value}`.startsWith(prefix) ? `${value}` : `${prefix}${value}`
}

function withQuery(url: string, options: unknown): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(options ?? {})) query.append(name, `${value}`)
  const text = query.toString()
  return text === '' ? url : `${url}${url.includes('?') ? '&' : '?'}${text}`
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
