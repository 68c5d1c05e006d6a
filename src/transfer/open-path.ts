/** Finds what a path into the store stands for, as the kernel would on a mount. */
import type { Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import { STORE_DIR, StorePath } from '../model/nix/store-path.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { PathInfoService } from '../services/pathinfos/interface.ts'
import { printable, utf8, view } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { SYMLINKS_FOLLOWED_MAX } from '../support/limits.ts'

export interface PathServices {
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
  /** For messages. */
  readonly describe: string
}

export interface OpenedPath {
  /** Where it was found: absolute, without symlinks. */
  readonly path: string
  readonly node: Node
}

const SLASH = utf8('/')[0]!
const CURRENT = utf8('.')
const PARENT = utf8('..')
const STORE_PREFIX = utf8(`${STORE_DIR}/`)

/**
 * The path info of a store path. Throws `not-found`, also when its hash belongs to a path of another name; then
 * `referrer` tells why it was looked for.
 */
export async function requirePath(
  services: Pick<PathServices, 'pathInfos' | 'describe'>,
  path: StorePath,
  call?: Call,
  referrer?: StorePath,
): Promise<PathInfo> {
  const found = await services.pathInfos.get(path.digest, call)
  const why = referrer ? `, which ${referrer.absolutePath} refers to,` : ''
  if (!found) throw new StoreError('not-found', `${path.absolutePath}${why} is not in ${services.describe}`)
  if (found.storePath.name === path.name) return found
  throw new StoreError(
    'not-found',
    `${path.absolutePath}${why} is not in ${services.describe}; with that hash there is ${found.storePath.absolutePath}`,
  )
}

/**
 * The node at `inner`, components separated by slashes, below a store path; symlinks on the way are followed, also
 * into other store paths that are here, and the last one unless `keepLast`. Throws `not-found`, naming the first
 * component that is missing or is no directory, or the symlink that leads out of the store.
 */
export async function openPath(
  services: PathServices,
  storePath: StorePath,
  inner: Uint8Array,
  { keepLast = false, ...call }: Call & { readonly keepLast?: boolean } = {},
): Promise<OpenedPath> {
  const walk = new Walk(services, call)
  const names = [utf8(storePath.toString()), ...split(inner)]
  for (let name = names.shift(); name; name = names.shift()) {
    await walk.step(name)
    if (keepLast && names.length === 0) break
    const target = walk.takeSymlink()
    if (target) names.unshift(...split(target))
  }
  return walk.here
}

interface Level {
  readonly name: string
  readonly node: Node
}

/** A place in the store, and the way back up. */
class Walk {
  readonly #services: PathServices
  readonly #call: Call
  /** The store path, the directories below it, and the node; empty at the folder of all store paths. */
  #levels: Level[] = []
  #symlinks = 0
  /** Told in errors: the symlink that was followed last. */
  #via = ''

  constructor(services: PathServices, call: Call) {
    this.#services = services
    this.#call = call
  }

  get here(): OpenedPath {
    const last = this.#levels.at(-1)
    if (!last) throw this.#missing(`${STORE_DIR} itself is no part of a store path`)
    return { path: this.#path, node: last.node }
  }

  async step(name: Uint8Array): Promise<void> {
    if (view(name).equals(PARENT)) this.#leave()
    else this.#levels.push({ name: printable(name), node: await this.#child(name) })
  }

  /** When the walk stands on a symlink: its target, relative to where the walk stands then. */
  takeSymlink(): Uint8Array | undefined {
    const { node } = this.#levels.at(-1) ?? {}
    if (node?.kind !== 'symlink') return undefined
    this.#via = `, following the symlink ${this.#path} to ${printable(node.target)}`
    if (++this.#symlinks > SYMLINKS_FOLLOWED_MAX)
      throw this.#missing(`more than ${SYMLINKS_FOLLOWED_MAX} symlinks to follow`)
    if (node.target[0] !== SLASH) {
      this.#levels.pop()
      return node.target
    }
    if (!view(node.target.subarray(0, STORE_PREFIX.length)).equals(STORE_PREFIX))
      throw this.#missing(`${printable(node.target)} is not in ${STORE_DIR}`)
    this.#levels = []
    return node.target.subarray(STORE_PREFIX.length)
  }

  get #path(): string {
    return [STORE_DIR, ...this.#levels.map(({ name }) => name)].join('/')
  }

  #leave(): void {
    if (this.#levels.length === 0) throw this.#missing(`the path leads out of ${STORE_DIR}`)
    this.#levels.pop()
  }

  async #child(name: Uint8Array): Promise<Node> {
    const parent = this.#levels.at(-1)?.node
    if (!parent) return await this.#root(name)
    if (parent.kind !== 'directory') throw this.#missing(`${this.#path} is a ${parent.kind} and no directory`)
    const directory = await this.#services.directories.get(parent.digest, this.#call)
    if (!directory)
      throw new StoreError(
        'corrupt',
        `directory ${parent.digest} (${this.#path}) is missing from ${this.#services.describe}`,
      )
    const child = directory.get(name)
    if (!child) throw this.#missing(`there is no "${printable(name)}" in ${this.#path}`)
    return child
  }

  async #root(name: Uint8Array): Promise<Node> {
    try {
      return (await requirePath(this.#services, StorePath.parse(name), this.#call)).node
    } catch (error) {
      if (error instanceof ValidationError) throw this.#missing(error.message)
      const { code, message } = StoreError.from(error)
      throw new StoreError(code, message + this.#via, { cause: error })
    }
  }

  #missing(why: string): StoreError {
    return new StoreError('not-found', why + this.#via)
  }
}

/** Without empty components and `.`, which lead nowhere. */
function split(path: Uint8Array): Uint8Array[] {
  const names: Uint8Array[] = []
  for (let start = 0; start <= path.length; ) {
    const slash = path.indexOf(SLASH, start)
    const end = slash < 0 ? path.length : slash
    const name = path.subarray(start, end)
    if (name.length > 0 && !view(name).equals(CURRENT)) names.push(name)
    start = end + 1
  }
  return names
}
