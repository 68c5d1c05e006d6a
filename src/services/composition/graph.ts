import { withContext } from '../../support/errors.ts'
import { withoutSecrets } from '../../support/secrets.ts'
import { parseAddress, parsePathInfoAddress, type Role, type StoreAddress } from './address.ts'
import {
  invalid,
  type Place,
  parseCompositionFile,
  SECTIONS,
  type WrittenComposition,
  type WrittenInstance,
} from './composition-file.ts'
import { checkFields, type FieldValues, readQuery, type Setting } from './fields.ts'
import { KINDS, type Kind, type LayerKind, rolesOf } from './kinds.ts'
import type { BlobCacheFolder, StoreAddresses } from './stores.ts'

/** Who said so. */
export type Origin =
  | { readonly from: 'flag' | 'environment'; readonly name: string }
  | { readonly from: 'default' }
  | ({ readonly from: 'file' } & Place)

/** One service: what it is, and which others it stands on. */
export interface GraphNode {
  readonly role: Role
  /** Of an instance in a composition file; an address has none. */
  readonly name: string | undefined
  readonly kind: string
  readonly origin: Origin
  /** For messages: address or section and name, without secrets. */
  readonly label: string
  /** Everything but references. */
  readonly fields: ReadonlyMap<string, Setting>
  readonly references: ReadonlyMap<string, readonly GraphNode[]>
  /** A backend's address; layers have none. */
  readonly address: StoreAddress | undefined
}

/** The three services that a command works with, before anything is opened. */
export interface Graph extends Readonly<Record<Role, GraphNode>> {
  /** For messages: where all this comes from. */
  readonly describe: string
}

/** Who said each of the three addresses. */
export type Origins = Readonly<Record<Role, Origin>>

const DEFAULT_ORIGINS: Origins = {
  blobs: { from: 'default' },
  directories: { from: 'default' },
  pathInfos: { from: 'default' },
}

/** Throws what `parseAddress` throws. */
export function graphOfAddresses(addresses: StoreAddresses, origins: Origins = DEFAULT_ORIGINS): Graph {
  const builder = new GraphBuilder({ blobs: new Map(), directories: new Map(), pathInfos: new Map() })
  for (const role of ['blobs', 'directories', 'pathInfos'] as const)
    builder.setRoot(role, addresses[role], origins[role])
  return builder.graph(describeAddresses(addresses))
}

/**
 * The graph of a composition file. Everything in it is checked, used or not. Throws `invalid-argument` with file,
 * line and name for unknown sections, types, fields and references, for instances that stand on themselves, and when
 * there is no `root` (or `default`) of a section.
 */
export function graphOfFile(file: string, text: string): Graph {
  const builder = new GraphBuilder(parseCompositionFile(file, text), file)
  builder.buildAll()
  return builder.graph(file)
}

function describeAddresses(addresses: StoreAddresses): string {
  const blobs = withoutSecrets(addresses.blobs)
  const directories = withoutSecrets(addresses.directories)
  const pathInfos = withoutSecrets(addresses.pathInfos)
  if (blobs === directories && blobs === pathInfos) return blobs
  return `blobs at ${blobs}, directories at ${directories}, path infos at ${pathInfos}`
}

/** How the three trees call the instance where reading begins; the first that exists is it. */
const ENTRY_POINTS = ['root', 'default'] as const

/** The graph with a blob cache of this machine in front of everything (`mount --cache-dir`). */
export function withCacheFolder(graph: Graph, cache: BlobCacheFolder, origin: Origin): Graph {
  const place: Place = { file: 'cache-dir', line: undefined }
  const fields = new Map<string, Setting>([['path', { value: cache.path, place }]])
  if (cache.size !== undefined) fields.set('size', { value: cache.size, place })
  const blobs: GraphNode = {
    role: 'blobs',
    name: undefined,
    kind: 'cache-dir',
    origin,
    label: cache.path,
    fields,
    references: new Map([['far', [graph.blobs]]]),
    address: undefined,
  }
  return { ...graph, blobs }
}

/** The graph with only such path infos as one of `keys` signed (`mount --require-signatures`). */
export function withSignatures(graph: Graph, keys: readonly string[], origin: Origin): Graph {
  const place: Place = { file: 'trusted-public-keys', line: undefined }
  const pathInfos: GraphNode = {
    role: 'pathInfos',
    name: undefined,
    kind: 'verifying',
    origin,
    label: graph.pathInfos.label,
    fields: new Map([['trusted_public_keys', { value: keys, place }]]),
    references: new Map([
      ['inner', [graph.pathInfos]],
      ['blob_service', [graph.blobs]],
      ['directory_service', [graph.directories]],
    ]),
    address: undefined,
  }
  return { ...graph, pathInfos }
}

class GraphBuilder {
  readonly #written: WrittenComposition
  readonly #file: string | undefined
  readonly #built = new Map<string, GraphNode>()
  readonly #roots = new Map<Role, GraphNode>()

  constructor(written: WrittenComposition, file?: string) {
    this.#written = written
    this.#file = file
  }

  setRoot(role: Role, address: string, origin: Origin): void {
    this.#roots.set(role, this.#anonymous(role, address, origin, []))
  }

  buildAll(): void {
    for (const role of ['blobs', 'directories', 'pathInfos'] as const)
      for (const name of this.#written[role].keys()) this.#named(role, name, [])
  }

  graph(describe: string): Graph {
    return {
      blobs: this.#root('blobs'),
      directories: this.#root('directories'),
      pathInfos: this.#root('pathInfos'),
      describe,
    }
  }

  #root(role: Role): GraphNode {
    const given = this.#roots.get(role)
    if (given) return given
    const entry = ENTRY_POINTS.find((name) => this.#written[role].has(name))
    if (entry !== undefined) return this.#named(role, entry, [])
    throw invalid(
      { file: this.#file ?? '', line: undefined },
      `there is no [${SECTIONS[role]}.root] (or .default): every section needs one`,
    )
  }

  /** A reference as it is written: `name`, `&name`, or an address. */
  #reference(role: Role, text: string, origin: Origin, chain: readonly string[]): GraphNode {
    const name = text.startsWith('&') ? text.slice(1) : text
    if (this.#written[role].has(name)) return this.#named(role, name, chain)
    if (text === name && /^[a-z][a-z0-9+.-]*:/i.test(text)) return this.#anonymous(role, text, origin, chain)
    if (ENTRY_POINTS.some((entry) => entry === name)) return this.#root(role)
    const known = [...this.#written[role].keys()].join(', ') || 'none'
    throw blamed(origin, `there is no ${SECTIONS[role]}.${name}; there are: ${known}`)
  }

  #named(role: Role, name: string, chain: readonly string[]): GraphNode {
    const label = `${SECTIONS[role]}.${name}`
    const built = this.#built.get(label)
    if (built) return built
    const instance = this.#written[role].get(name)!
    const origin: Origin = { from: 'file', ...instance.place }
    if (chain.includes(label))
      throw blamed(origin, `an instance stands on itself: ${[...chain, label].join(' → ')}`)
    const kind = kindOf(instance)
    const values = checkFields(label, instance.place, kind.fields, instance.fields)
    const node = this.#node({ role, name, kind: instance.type, origin, label }, kind, values, [
      ...chain,
      label,
    ])
    this.#built.set(label, node)
    return node
  }

  /** An address in the place of a reference. Layers have addresses, too: `cache:?near=…&far=…` (spec §3.4). */
  #anonymous(role: Role, text: string, origin: Origin, chain: readonly string[]): GraphNode {
    const scheme = /^[a-z][a-z0-9-]*/i.exec(text)?.[0].toLowerCase() ?? ''
    const kind = Object.hasOwn(KINDS, scheme) ? KINDS[scheme]! : undefined
    const label = withoutSecrets(text)
    const head = { role, name: undefined, kind: scheme, origin, label }
    if (!kind || 'address' in kind || !rolesOf(kind).includes(role))
      return this.#backend(head, text, new Map(), new Map())
    const place: Place = { file: label, line: undefined }
    const values = checkFields(scheme, place, kind.fields, readQuery(text, kind.fields, place))
    return this.#node(head, kind, values, chain)
  }

  #node(
    head: Omit<GraphNode, 'fields' | 'references' | 'address'>,
    kind: Kind,
    values: FieldValues,
    chain: readonly string[],
  ): GraphNode {
    const references = new Map<string, readonly GraphNode[]>()
    for (const [field, { texts, place }] of values.references) {
      const origin: Origin = head.origin.from === 'file' ? { from: 'file', ...place } : head.origin
      const role = kind.fields[field]!.to ?? head.role
      references.set(
        field,
        texts.map((text) => this.#reference(role, text, origin, chain)),
      )
    }
    if (!('address' in kind)) {
      if ('blob_service' in kind.fields) this.#addCastore(references)
      refuseVolatile(head, kind, references)
      return { ...head, fields: values.settings, references, address: undefined }
    }
    const plain = new Map([...values.settings].map(([name, { value }]) => [name, value]))
    return this.#backend(head, kind.address(plain), values.settings, references)
  }

  #backend(
    head: Omit<GraphNode, 'fields' | 'references' | 'address'>,
    text: string,
    fields: GraphNode['fields'],
    given: GraphNode['references'],
  ): GraphNode {
    const address = blaming(head.origin, head.name && head.label, () =>
      head.role === 'pathInfos' ? parsePathInfoAddress(text) : parseAddress(head.role, text),
    )
    if (address.kind !== 'substituting') return { ...head, fields, references: given, address }
    // What comes out of NARs is stored in the other two services (spec §3.7).
    const references = new Map(given)
    this.#addCastore(references)
    return { ...head, fields, references, address }
  }

  /** For who reads or stores contents: the services at the root, unless it names others. */
  #addCastore(references: Map<string, readonly GraphNode[]>): void {
    if (!references.has('blob_service')) references.set('blob_service', [this.#root('blobs')])
    if (!references.has('directory_service')) references.set('directory_service', [this.#root('directories')])
  }
}

/** What is acknowledged and only in memory would be lost with the process, before it was sent. */
function refuseVolatile(
  { label, origin, kind: type }: Pick<GraphNode, 'label' | 'origin' | 'kind'>,
  { durable }: LayerKind,
  references: GraphNode['references'],
): void {
  if (durable === undefined) return
  const side = references.get(durable)?.find(isVolatile)
  if (side)
    throw blamed(
      origin,
      `${label}: ${type} needs a ${durable} that survives this process, and ${side.label} is in memory: what is written there would be lost before it is sent; name an lmdb: or objectstore+file: address`,
    )
}

function isVolatile({ kind, address, references }: GraphNode): boolean {
  if (address) return address.kind === 'memory' || address.kind === 'object-memory'
  const { writesTo } = KINDS[kind] as LayerKind
  return kind === 'lru' || (writesTo !== undefined && (references.get(writesTo) ?? []).some(isVolatile))
}

function kindOf({ role, name, type, place }: WrittenInstance): Kind {
  const kind = Object.hasOwn(KINDS, type) ? KINDS[type]! : undefined
  if (kind && rolesOf(kind).includes(role)) return kind
  const known = Object.entries(KINDS)
    .filter(([, each]) => rolesOf(each).includes(role))
    .map(([each]) => each)
  throw invalid(
    place,
    `${SECTIONS[role]}.${name} has the unknown type "${type}"; there are ${known.join(', ')}`,
  )
}

function blamed(origin: Origin, why: string): Error {
  return invalid(origin.from === 'file' ? origin : { file: 'address', line: undefined }, why)
}

/** Errors of addresses in a file tell where in it they are. */
function blaming<T>(origin: Origin, label: string | undefined, work: () => T): T {
  if (origin.from !== 'file') return work()
  try {
    return work()
  } catch (error) {
    const line = origin.line === undefined ? '' : `:${origin.line}`
    throw withContext(`${origin.file}${line}${label ? `: ${label}` : ''}`, error)
  }
}
