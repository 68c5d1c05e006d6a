/**
 * The pages for people, beside the routes of the binary cache: what is here, and what is in it. Plain HTML made on the
 * server, for any browser, without a script.
 */

import { pathComponentFault } from '../../../model/castore/path-component.ts'
import { decodeNixbase32 } from '../../../model/nix/nixbase32.ts'
import type { PathInfo } from '../../../model/nix/path-info.ts'
import { STORE_DIR } from '../../../model/nix/store-path.ts'
import type { PathInfoService } from '../../../services/pathinfos/interface.ts'
import { equalBytes, utf8 } from '../../../support/bytes.ts'
import { type Call, withDeadline } from '../../../support/call.ts'
import { Semaphore } from '../../../support/concurrency.ts'
import { StoreError } from '../../../support/errors.ts'
import {
  PAGES_CALL_MS_MAX,
  PAGES_CLOSURE_GLANCE_MS_MAX,
  PAGES_CLOSURE_GLANCE_PATHS_MAX,
  PAGES_CLOSURE_MS_MAX,
  PAGES_CLOSURE_PATHS_MAX,
  PAGES_ROWS,
  PAGES_SEARCH_CHARACTERS_MAX,
  PAGES_SEARCH_WORDS_MAX,
  PAGES_WALKS_MAX,
} from '../../../support/limits.ts'
import type { Logger } from '../../../support/log.ts'
import { documentOf, type HttpHandler, type HttpReply, type HttpRequest } from '../exchange.ts'
import { closureOf } from './closure.ts'
import { type ContentsParts, renderContents } from './contents.ts'
import { failurePage, unknownHashPage, unknownPage, unknownPathPage, unknownPlacePage } from './error-page.ts'
import { type Page, renderPage } from './layout.ts'
import { Links } from './links.ts'
import { overviewPage, searchPage, unlistedPage } from './overview.ts'
import { PathIndex } from './path-index.ts'
import { closurePage, innerPage, pathPage } from './path-page.ts'
import { locate, type Place, resolveSymlink } from './place.ts'
import { rawFileReply } from './raw-file.ts'
import { parseRoute, parseStorePath, type Route } from './route.ts'
import { CONTENT_SECURITY_POLICY } from './style.ts'

export interface PagesParts extends ContentsParts {
  readonly pathInfos: PathInfoService
  readonly logger: Logger
  /** With which narinfos are signed here (`name:base64`), for the command that is shown. */
  readonly publicKeys?: readonly string[]
}

export interface Pages {
  /** Answers `/` to who accepts HTML, and every page; `undefined` for what is no page. */
  readonly handle: HttpHandler
  /** For an address that nobody else knows either. */
  notFound(request: HttpRequest): HttpReply
  close(): void
}

export function createPages(parts: PagesParts): Pages {
  const site = new Site(parts)
  return {
    handle: (request) => site.handle(request),
    notFound: (request) => pageReply(request, unknownPage(new Links(request.path), request.path)),
    close: () => site.close(),
  }
}

class Site {
  readonly #parts: PagesParts
  readonly #index: PathIndex
  readonly #walks = new Semaphore(PAGES_WALKS_MAX)

  constructor(parts: PagesParts) {
    this.#parts = parts
    this.#index = new PathIndex((call) => parts.pathInfos.list(call))
  }

  close(): void {
    this.#index.close()
  }

  async handle(request: HttpRequest): Promise<HttpReply | undefined> {
    const route = parseRoute(request.path, request.query)
    if (!route || (request.path === '/' && !acceptsHtml(request))) return undefined
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return { status: 405, headers: { allow: 'GET, HEAD' } }
    try {
      using call = withDeadline(request, PAGES_CALL_MS_MAX, request.path)
      const answer = await this.#answer(route, request, call)
      return 'body' in answer ? pageReply(request, answer) : answer
    } catch (error) {
      const failure = StoreError.from(error)
      if (!request.signal.aborted) this.#log(request, failure)
      return pageReply(request, failurePage(failure))
    }
  }

  async #answer(route: Route, request: HttpRequest, call: Call): Promise<Page | HttpReply> {
    const links = new Links(request.path)
    if (route.kind === 'malformed') return unknownPage(links, request.path)
    if (route.kind === 'overview') {
      if (route.query !== '') return this.#search(links, route, request, call)
      if (!request.permissions.has('list')) return unlistedPage()
      return this.#overview(links, route.page, request, call)
    }
    const { storePath, inner } = route
    const found = await this.#get(storePath.digest, call)
    if (found?.storePath.name !== storePath.name) return unknownPathPage(links, storePath, found?.storePath)
    if (route.kind === 'closure') {
      if (inner.length > 0) return unknownPage(links, request.path)
      return this.#closure(links, found, call)
    }
    const located = await locate(this.#parts.directories, found.node, inner, call)
    if (!located) return unknownPlacePage(links, route)
    const { node, depth } = located
    const isBehind = depth < inner.length
    if (node.kind === 'symlink' && (isBehind || route.kind === 'raw')) {
      const to = resolveSymlink({ storePath, inner: inner.slice(0, depth) }, node.target)
      if (!to) return unknownPlacePage(links, route)
      return redirect(
        links,
        { storePath: to.storePath, inner: [...to.inner, ...inner.slice(depth)] },
        route.kind,
      )
    }
    if (route.kind === 'raw') {
      if (node.kind !== 'file') return redirect(links, route)
      // Reading goes on for as long as it takes, after the deadline of this answer.
      return rawFileReply(this.#parts.blobs, inner.at(-1) ?? utf8(storePath.name), node, request)
    }
    const contents = await renderContents(this.#parts, links, route, node, route.page, call)
    if (inner.length > 0) return innerPage(links, route, contents)
    return this.#path(links, found, contents, request, call)
  }

  async #overview(links: Links, page: number, request: HttpRequest, call: Call): Promise<Page> {
    const snapshot = await this.#index.snapshot(call)
    if (snapshot.names.length === 0 && snapshot.failure) throw snapshot.failure
    return overviewPage(links, snapshot, { page, origin: originOf(request) })
  }

  /** A store path or a hash leads to its page; anything else is looked for among the names. */
  async #search(
    links: Links,
    { query, page }: { readonly query: string; readonly page: number },
    request: HttpRequest,
    call: Call,
  ): Promise<Page | HttpReply> {
    const place = parsePlace(query)
    if (place) return redirect(links, place)
    const hash = parseHash(query)
    if (hash) {
      const found = await this.#get(hash, call)
      return found ? redirect(links, { storePath: found.storePath, inner: [] }) : unknownHashPage(query)
    }
    if (!request.permissions.has('list')) return unlistedPage()
    const text = query.slice(0, PAGES_SEARCH_CHARACTERS_MAX)
    const words = text.split(/\s+/).slice(0, PAGES_SEARCH_WORDS_MAX)
    const snapshot = await this.#index.snapshot(call)
    if (snapshot.names.length === 0 && snapshot.failure) throw snapshot.failure
    const rows = { start: (page - 1) * PAGES_ROWS, end: page * PAGES_ROWS }
    const search = () => snapshot.names.search(words, rows, this.#index.turn, call)
    const found = await this.#walks.run(search, 1, call.signal)
    return searchPage(links, snapshot, { query: text, page, found })
  }

  async #path(
    links: Links,
    pathInfo: PathInfo,
    contents: Page['body'],
    request: HttpRequest,
    call: Call,
  ): Promise<Page> {
    const { pathInfos, publicKeys = [] } = this.#parts
    const limits = { paths: PAGES_CLOSURE_GLANCE_PATHS_MAX, ms: PAGES_CLOSURE_GLANCE_MS_MAX }
    const closure = await closureOf(pathInfos, pathInfo, limits, call)
    return pathPage(links, pathInfo, { closure, contents, publicKeys, origin: originOf(request) })
  }

  async #closure(links: Links, pathInfo: PathInfo, call: Call): Promise<Page> {
    const limits = { paths: PAGES_CLOSURE_PATHS_MAX, ms: PAGES_CLOSURE_MS_MAX }
    const walk = () => closureOf(this.#parts.pathInfos, pathInfo, limits, call)
    return closurePage(links, pathInfo, await this.#walks.run(walk, 1, call.signal))
  }

  async #get(outputHash: Uint8Array, call: Call): Promise<PathInfo | undefined> {
    const found = await this.#parts.pathInfos.get(outputHash, call)
    if (found && !equalBytes(found.storePath.digest, outputHash))
      throw new StoreError(
        'corrupt',
        `the source of path infos answered with another path, ${found.storePath}`,
      )
    return found
  }

  #log({ path }: HttpRequest, failure: StoreError): void {
    const fields = { path, code: failure.code, ...(failure.code === 'internal' && { cause: failure.cause }) }
    this.#parts.logger.warn(fields, failure.message)
  }
}

function pageReply(request: HttpRequest, page: Page): HttpReply {
  const text = renderPage(new Links(request.path), page)
  return {
    status: page.status ?? 200,
    headers: {
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      // `/` is for machines, too.
      vary: 'accept',
      ...page.headers,
    },
    content: documentOf(utf8(text), { type: 'text/html; charset=utf-8', cacheControl: 'no-cache' }),
  }
}

function redirect(links: Links, { storePath, inner }: Place, kind: 'path' | 'raw' = 'path'): HttpReply {
  const location = kind === 'raw' ? links.raw(storePath, inner) : links.path(storePath, inner)
  return { status: 302, headers: { location } }
}

function acceptsHtml({ headers }: HttpRequest): boolean {
  return headers.accept?.includes('text/html') ?? false
}

/** Only what cannot mean anything to the shell that the command is copied into. */
const HOST = /^[A-Za-z0-9.-]+(?::[0-9]+)?$|^\[[0-9A-Fa-f:.]+\](?::[0-9]+)?$/

function originOf({ headers }: HttpRequest): string | undefined {
  const host = headers.host ?? String(headers[':authority'] ?? '')
  const isSecure = headers['x-forwarded-proto'] === 'https' || headers[':scheme'] === 'https'
  return HOST.test(host) ? `${isSecure ? 'https' : 'http'}://${host}` : undefined
}

/** `/nix/store/<basename>`, perhaps with a path inside, or the basename alone. */
function parsePlace(query: string): Place | undefined {
  const below = query.startsWith(`${STORE_DIR}/`) ? query.slice(STORE_DIR.length + 1) : query
  const [basename, ...names] = below.split('/').filter((name) => name !== '')
  const storePath = basename === undefined ? undefined : parseStorePath(utf8(basename))
  const inner = names.map(utf8)
  return storePath && !inner.some(pathComponentFault) ? { storePath, inner } : undefined
}

function parseHash(query: string): Uint8Array | undefined {
  return /^[0-9a-df-np-sv-z]{32}$/.test(query) ? decodeNixbase32(query) : undefined
}
