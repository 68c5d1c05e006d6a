/** The machine routes of a binary cache (spec §7): what stock Nix pulls from and pushes to. */
import { Digest } from '../../model/castore/digest.ts'
import { printListing } from '../../model/nar/listing-json.ts'
import { renderNarInfo } from '../../model/nix/narinfo-renderer.ts'
import type { NarFileName } from '../../model/nix/nix-http.ts'
import { narInfoOf, type PathInfo } from '../../model/nix/path-info.ts'
import { STORE_DIR } from '../../model/nix/store-path.ts'
import { utf8, view } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { NAR_LISTING_BYTES_MAX } from '../../support/limits.ts'
import { narListing } from '../../transfer/nar-listing.ts'
import { type CachePath, methodsOf, parseCachePath } from './cache-path.ts'
import {
  type Content,
  documentOf,
  type HttpHandler,
  type HttpReply,
  type HttpRequest,
  lineReply,
  TEXT,
} from './exchange.ts'
import { Refusal } from './fault-reply.ts'
import { compressedNarContent, narContent, tagOf } from './nar-content.ts'
import { narUrl, parseNarUrl } from './nar-url.ts'
import type { Pages } from './pages/pages.ts'
import { uploadOf } from './upload-body.ts'
import { type UploadParts, Uploads } from './uploads.ts'

export interface BridgeParts extends UploadParts {
  /** Of this cache among others; Nix asks those with lower numbers first. */
  readonly priority: number
  /** Asked first, so that `/` can be a page for those who accept one; and last, for what nobody knows. */
  readonly pages?: Pick<Pages, 'handle' | 'notFound'>
}

export interface Bridge {
  readonly handle: HttpHandler
  /** Settles what uploads left behind when the last process ended. */
  resume(call: Call): Promise<void>
}

export function createBridge(parts: BridgeParts): Bridge {
  const bridge = new BinaryCache(parts)
  return { handle: (request) => bridge.handle(request), resume: (call) => bridge.uploads.resume(call) }
}

/** Signatures may be added to it, and it may be replaced. */
const NARINFO_CACHE_CONTROL = 'max-age=300'
const GREETING = 'Hello from nar-bridge'

class BinaryCache {
  readonly #parts: BridgeParts
  readonly uploads: Uploads

  constructor(parts: BridgeParts) {
    this.#parts = parts
    this.uploads = new Uploads(parts)
  }

  async handle(request: HttpRequest): Promise<HttpReply | undefined> {
    const page = await this.#parts.pages?.handle(request)
    if (page) return page
    const path = parseCachePath(request.path)
    if (!path) return this.#parts.pages?.notFound(request)
    const methods = methodsOf(path)
    if (!methods.includes(request.method))
      return lineReply(405, `${request.method} is not for this URL`, { allow: methods.join(', ') })
    return request.method === 'PUT' ? this.#put(request, path) : this.#get(request, path)
  }

  async #get(request: HttpRequest, path: CachePath): Promise<HttpReply> {
    switch (path.kind) {
      case 'greeting':
        return { ...found(documentOf(utf8(GREETING), { type: TEXT })), headers: { vary: 'accept' } }
      case 'cache-info':
        return found(this.#cacheInfo())
      case 'castore-nar': {
        const { node, narSize } = parseNarUrl(path.encoded, request.query)
        return found(narContent(this.#parts, node, narSize, request))
      }
      case 'nar-file':
        return found(await this.#narFile(path.name, request))
      case 'narinfo':
        return found(narInfoDocument(await this.#pathInfo(path.outputHash, request)))
      case 'listing':
        return found(await this.#listing(await this.#pathInfo(path.outputHash, request), request))
    }
  }

  async #put(request: HttpRequest, path: CachePath): Promise<HttpReply> {
    if (path.kind === 'nar-file') return this.uploads.putNar(request, path.name)
    if (path.kind === 'narinfo') return this.uploads.putNarInfo(request, path.outputHash)
    // A listing follows from the contents: it is made when somebody asks for it.
    for await (const _ of uploadOf(request, NAR_LISTING_BYTES_MAX));
    return { status: 200, headers: { 'content-type': TEXT } }
  }

  #cacheInfo(): Content {
    const text = `StoreDir: ${STORE_DIR}\nWantMassQuery: 1\nPriority: ${this.#parts.priority}\n`
    return documentOf(utf8(text), { type: 'text/x-nix-cache-info', cacheControl: NARINFO_CACHE_CONTROL })
  }

  async #pathInfo(outputHash: Uint8Array, call: Call): Promise<PathInfo> {
    const pathInfo = await this.#parts.pathInfos.get(outputHash, call)
    if (!pathInfo) throw new Refusal(404, 'no such store path')
    return pathInfo
  }

  async #narFile(name: NarFileName | undefined, call: Call): Promise<Content> {
    const nar = name && (await this.uploads.find(name, call))
    if (!nar) throw new Refusal(404, 'no such NAR')
    const { compression } = nar
    if (compression === 'none') return narContent(this.#parts, nar.node, Number(nar.narSize), call)
    return compressedNarContent(this.#parts, nar.node, compression, call)
  }

  async #listing({ node }: PathInfo, call: Call): Promise<Content> {
    const listing = await narListing(this.#parts.directories, node, call)
    return documentOf(printListing(listing), {
      type: 'application/json',
      tag: `${tagOf(node)}-ls`,
      cacheControl: NARINFO_CACHE_CONTROL,
    })
  }
}

function narInfoDocument(pathInfo: PathInfo): Content {
  const { node, narSize } = pathInfo
  const bytes = utf8(renderNarInfo(narInfoOf(pathInfo, { url: narUrl(node, narSize) })))
  return documentOf(bytes, {
    type: 'text/x-nix-narinfo',
    tag: view(Digest.of(bytes).bytes).toString('base64url'),
    cacheControl: NARINFO_CACHE_CONTROL,
  })
}

function found(content: Content): HttpReply {
  return { status: 200, content }
}
