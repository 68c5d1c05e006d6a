/**
 * One directory and all that is below it, over HTTP: files with ranges, and their directories by an index file or as
 * listings (spec §4.5, `snix-castore-http`).
 */
import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import type { DirectoryNode, Node } from '../../model/castore/node.ts'
import { pathComponentFault } from '../../model/castore/path-component.ts'
import type { BlobService } from '../../services/blobs/interface.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import { equalBytes, utf8 } from '../../support/bytes.ts'
import { type Call, withDeadline } from '../../support/call.ts'
import { MissingError } from '../../support/errors.ts'
import { PAGES_CALL_MS_MAX } from '../../support/limits.ts'
import { listingOf } from './directory-listing.ts'
import { type HttpHandler, type HttpReply, type HttpRequest, lineReply } from './exchange.ts'
import { fileContent, INERT_TYPES, typeOf } from './file-content.ts'
import { decodeName, encodeName, type InnerPath } from './pages/links.ts'
import { locate, splitPath } from './pages/place.ts'

export interface DirectorySiteParts {
  readonly blobs: BlobService
  readonly directories: DirectoryService
  /** Of what is at `/`. */
  readonly root: Digest
  /** Files that stand for the directory that they are in, the first that is there. */
  readonly indexNames: readonly Uint8Array[]
  /** Whether a directory without such a file is shown as a list; to whoever may list. */
  readonly isListed: boolean
}

export function createDirectorySite(parts: DirectorySiteParts): HttpHandler {
  return async (request) => {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return { status: 405, headers: { allow: 'GET, HEAD' } }
    const path = parsePath(request.path)
    if (!path)
      return lineReply(400, 'this is no path: names are separated by single slashes, and none is . or ..')
    using call = withDeadline(request, PAGES_CALL_MS_MAX, request.path)
    return await answer(parts, path, request, call)
  }
}

/** `undefined` for what no path can be. A slash at the end means nothing. */
function parsePath(path: string): InnerPath | undefined {
  const below = path.slice(1).replace(/\/$/, '')
  if (below === '') return path.length <= 1 ? [] : undefined
  const names = below.split('/').map(decodeName)
  return names.every((name) => name !== undefined && !pathComponentFault(name))
    ? (names as Uint8Array[])
    : undefined
}

async function answer(
  parts: DirectorySiteParts,
  path: InnerPath,
  request: HttpRequest,
  call: Call,
): Promise<HttpReply | undefined> {
  // What `locate` looks at of a directory is its digest.
  const root: DirectoryNode = { kind: 'directory', digest: parts.root, size: 0n }
  const located = await locate(parts.directories, root, path, call)
  if (!located) return undefined
  const { node, depth } = located
  if (node.kind === 'symlink') return redirect(path, depth, node.target)
  if (node.kind === 'directory') return await directoryReply(parts, node, request, call)
  // Nothing is below a file.
  return request.path.endsWith('/') ? undefined : fileReply(parts, path.at(-1)!, node, request)
}

/** To where a symlink leads, its target taken as text, below the root; behind it goes what the path has behind it. */
function redirect(path: InnerPath, depth: number, target: Uint8Array): HttpReply | undefined {
  const names = target[0] === SLASH ? [] : path.slice(0, depth - 1)
  for (const name of splitPath(target)) {
    if (!equalBytes(name, PARENT)) names.push(name)
    else if (!names.pop()) return undefined
  }
  const location = [...names, ...path.slice(depth)].map(encodeName).join('/')
  return { status: 307, headers: { location: `/${location}` } }
}

const SLASH = 0x2f
const PARENT = utf8('..')

async function directoryReply(
  parts: DirectorySiteParts,
  { digest }: DirectoryNode,
  request: HttpRequest,
  call: Call,
): Promise<HttpReply> {
  const directory = await parts.directories.get(digest, call)
  if (!directory) throw new MissingError(`directory ${digest}`)
  const index = indexOf(parts.indexNames, directory)
  if (index) return fileReply(parts, index.name, index.node, request)
  if (!parts.isListed || !request.permissions.has('list'))
    return lineReply(403, 'this directory has no index file, and is not listed')
  return {
    status: 200,
    headers: { 'content-security-policy': "default-src 'none'", 'x-content-type-options': 'nosniff' },
    content: listingOf(request.path, directory),
  }
}

type File = Node & { readonly kind: 'file' }

function indexOf(
  names: readonly Uint8Array[],
  directory: Directory,
): { readonly name: Uint8Array; readonly node: File } | undefined {
  for (const name of names) {
    const node = directory.get(name)
    if (node?.kind === 'file') return { name, node }
  }
  return undefined
}

/** What a site is made of; unlike the pages of a store, whoever serves one wants browsers to show it. */
const TYPES = {
  ...INERT_TYPES,
  html: 'text/html; charset=utf-8',
  htm: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
  xml: 'text/xml; charset=utf-8',
  ico: 'image/vnd.microsoft.icon',
  wasm: 'application/wasm',
  woff: 'font/woff',
  woff2: 'font/woff2',
  mp4: 'video/mp4',
  webm: 'video/webm',
}

/** Reading goes on for as long as it takes, after the deadline of the answer. */
function fileReply(
  { blobs }: DirectorySiteParts,
  name: Uint8Array,
  node: File,
  request: HttpRequest,
): HttpReply {
  return {
    status: 200,
    headers: { 'x-content-type-options': 'nosniff' },
    content: fileContent(blobs, node, typeOf(name, TYPES), request),
  }
}
