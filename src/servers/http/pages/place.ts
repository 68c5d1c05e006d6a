import type { Node } from '../../../model/castore/node.ts'
import { pathComponentFault } from '../../../model/castore/path-component.ts'
import { STORE_DIR, type StorePath } from '../../../model/nix/store-path.ts'
import type { DirectoryService } from '../../../services/directories/interface.ts'
import { compareBytes, equalBytes, utf8, view } from '../../../support/bytes.ts'
import type { Call } from '../../../support/call.ts'
import { MissingError } from '../../../support/errors.ts'
import { TREE_DEPTH_MAX } from '../../../support/limits.ts'
import type { InnerPath } from './links.ts'
import { parseStorePath } from './route.ts'

/** Somewhere in a store path. */
export interface Place {
  readonly storePath: StorePath
  readonly inner: InnerPath
}

export interface Located {
  readonly node: Node
  /** How many components lead to the node: fewer than were asked for where a symlink is in the way. */
  readonly depth: number
}

/** Walks down from `root`, following no symlink. `undefined` when there is nothing of that name. */
export async function locate(
  directories: DirectoryService,
  root: Node,
  inner: InnerPath,
  call?: Call,
): Promise<Located | undefined> {
  if (inner.length > TREE_DEPTH_MAX) return undefined
  let node = root
  for (const [depth, name] of inner.entries()) {
    if (node.kind === 'symlink') return { node, depth }
    if (node.kind === 'file') return undefined
    const directory = await directories.get(node.digest, call)
    if (!directory) throw new MissingError(`directory ${node.digest}`)
    const found = directory.get(name)
    if (!found) return undefined
    node = found
  }
  return { node, depth: inner.length }
}

/**
 * Where the symlink at `place` leads, if that is into a store path; whether there is anything is another question.
 * Only `..` at the beginning are followed: behind a name they depend on whether that name is a symlink itself.
 */
export function resolveSymlink({ storePath, inner }: Place, target: Uint8Array): Place | undefined {
  const isAbsolute = target[0] === SLASH
  const segments = splitPath(target)
  const below = isAbsolute
    ? dropStoreDir(segments)
    : climb([utf8(storePath.toString()), ...inner].slice(0, -1), segments)
  if (!below) return undefined
  const [basename, ...rest] = below
  const to = basename && parseStorePath(basename)
  if (!to || rest.some((name) => pathComponentFault(name))) return undefined
  return { storePath: to, inner: rest }
}

const SLASH = 0x2f
const PARENT = utf8('..')
const STORE_SEGMENTS = splitPath(utf8(STORE_DIR))

/** Without what means nothing: empty segments and `.`. */
export function splitPath(path: Uint8Array): Uint8Array[] {
  return view(path)
    .toString('latin1')
    .split('/')
    .filter((segment) => segment !== '' && segment !== '.')
    .map((segment) => Buffer.from(segment, 'latin1'))
}

function dropStoreDir(segments: readonly Uint8Array[]): Uint8Array[] | undefined {
  const isBelow = STORE_SEGMENTS.every((name, i) => segments[i] && compareBytes(name, segments[i]) === 0)
  return isBelow ? segments.slice(STORE_SEGMENTS.length) : undefined
}

/** `folder`: names from the store's folder down. */
function climb(folder: readonly Uint8Array[], segments: readonly Uint8Array[]): Uint8Array[] | undefined {
  const first = segments.findIndex((segment) => !equalBytes(segment, PARENT))
  const ups = first < 0 ? segments.length : first
  if (ups > folder.length) return undefined
  return [...folder.slice(0, folder.length - ups), ...segments.slice(ups)]
}
