import { createHash } from 'node:crypto'
import type { Node } from '../../model/castore/node.ts'
import type { NarInfo } from '../../model/nix/narinfo.ts'
import { parseNarInfo } from '../../model/nix/narinfo-parser.ts'
import { type NixCacheInfo, parseNixCacheInfo } from '../../model/nix/nix-cache-info.ts'
import { printNixHash } from '../../model/nix/nix-hash.ts'
import { encodeNixbase32 } from '../../model/nix/nixbase32.ts'
import { STORE_DIR } from '../../model/nix/store-path.ts'
import { equalBytes, printable, utf8 } from '../../support/bytes.ts'
import { type Call, withDeadline } from '../../support/call.ts'
import { SingleFlight } from '../../support/concurrency.ts'
import { COMPRESSIONS, decompressed, isCompression } from '../../support/decompress.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import {
  HTTP_DOCUMENT_MS_MAX,
  NARINFO_BYTES_MAX,
  NIX_CACHE_DOWN_MS,
  NIX_CACHE_INFO_BYTES_MAX,
  NIX_CASTORE_FORGONE_MS,
} from '../../support/limits.ts'
import type { HttpClient, HttpResponse } from '../http-client.ts'
import { download } from '../http-download.ts'
import { shownUrl, unexpectedStatus } from '../http-error.ts'
import { parseCastoreNarUrl } from './castore-nar-url.ts'
import type { NixHttpAddress } from './nix-http-address.ts'

/** What caches call absence: those in buckets that may not be listed say 403 (spec §6.8), and Nix takes 410 for it as well. */
const ABSENT = new Set([403, 404, 410])

/** One binary cache. What it says is checked for form and for being about what was asked, and not believed yet. */
export class NixCache {
  readonly address: NixHttpAddress
  /** For messages. */
  readonly name: string
  readonly #client: HttpClient
  readonly #introductions = new SingleFlight<'info', NixCacheInfo>()
  #info: NixCacheInfo | undefined
  #castoreForgoneUntil = 0
  #down: { readonly failure: StoreError; readonly until: number } | undefined

  constructor(client: HttpClient, address: NixHttpAddress) {
    this.#client = client
    this.address = address
    this.name = shownUrl(address.url)
  }

  /** Asked for until it is known. Throws `precondition` for a cache of another store directory. */
  async info(call?: Call): Promise<NixCacheInfo> {
    this.#info ??= await this.#introductions.run('info', (flight) => this.#askInfo(flight), call)
    return this.#info
  }

  /** `undefined` when the cache does not have the path. Throws `corrupt` when it answers with anything else. */
  async narInfo(outputHash: Uint8Array, call?: Call): Promise<NarInfo | undefined> {
    const hash = encodeNixbase32(outputHash)
    const document = await this.#document(`${hash}.narinfo`, NARINFO_BYTES_MAX, call)
    if (!document) return undefined
    const narInfo = this.#blame(() => parseNarInfo(document))
    if (!equalBytes(narInfo.storePath.digest, outputHash))
      throw this.#corrupt(`asked for ${hash}, it answered with the narinfo of ${narInfo.storePath}`)
    if (narInfo.narSize < 1n || narInfo.narSize > BigInt(Number.MAX_SAFE_INTEGER))
      throw this.#corrupt(`${narInfo.storePath}: no NAR has ${narInfo.narSize} bytes`)
    return narInfo
  }

  /**
   * The NAR as a narinfo of this cache describes it, decompressed. Throws `corrupt` where it is more than that, or not
   * the file that was announced; whether it is the right NAR is for the reader to find out.
   */
  async *openNar(narInfo: NarInfo, call: Call): AsyncGenerator<Uint8Array> {
    const compression = narInfo.compression ?? 'none'
    if (!isCompression(compression))
      throw new StoreError(
        'unimplemented',
        `${this.name}: ${narInfo.storePath} is compressed with ${printable(utf8(compression))}; there are ${COMPRESSIONS.join(', ')}`,
      )
    try {
      yield* decompressed(this.#file(narInfo, call), compression, { ...call, declaredBytes: narInfo.narSize })
    } catch (error) {
      throw blamed(error)
    }
  }

  /**
   * The root node, where the NAR's URL spells it out and so is that of a nar-bridge, and the origin that is taken to
   * have its castore (spec §6.8); `undefined` where there is none, or none that was of use lately.
   */
  castoreOf(narInfo: NarInfo): { readonly node: Node; readonly origin: string } | undefined {
    if (this.address.forceDownloadNar || performance.now() < this.#castoreForgoneUntil) return undefined
    const named = parseCastoreNarUrl(narInfo.url)
    if (named?.narSize !== narInfo.narSize) return undefined
    return { node: named.node, origin: this.address.url.origin }
  }

  /** Bridges without castore beside them are common, and asking them each time would only take time. */
  forgoCastore(): void {
    this.#castoreForgoneUntil = performance.now() + NIX_CASTORE_FORGONE_MS
  }

  async *#file(narInfo: NarInfo, call: Call): AsyncGenerator<Uint8Array> {
    const { fileHash, fileSize } = narInfo
    const sha256 = createHash('sha256')
    let size = 0
    for await (const piece of download(this.#client, this.narUrl(narInfo), call)) {
      size += piece.length
      if (fileSize !== undefined && size > fileSize)
        throw this.#corrupt(
          `the NAR of ${narInfo.storePath} is longer than its FileSize of ${fileSize} bytes`,
        )
      if (fileHash) sha256.update(piece)
      yield piece
    }
    if (fileSize !== undefined && BigInt(size) !== fileSize)
      throw this.#corrupt(
        `the NAR of ${narInfo.storePath} has ${size} bytes, and not its FileSize of ${fileSize}`,
      )
    const digest = sha256.digest()
    if (fileHash && !equalBytes(digest, fileHash))
      throw this.#corrupt(
        `the NAR of ${narInfo.storePath} has the file hash ${sri(digest)}, and not its FileHash ${sri(fileHash)}`,
      )
  }

  /** Throws `corrupt` for one that leaves HTTP, or TLS. */
  narUrl({ url, storePath }: NarInfo): URL {
    const base = this.address.url
    const narUrl = URL.canParse(url, base.href) ? new URL(url, base) : undefined
    const isWeb = narUrl?.protocol === 'https:' || (narUrl?.protocol === 'http:' && base.protocol === 'http:')
    if (!narUrl || !isWeb)
      throw this.#corrupt(`the NAR of ${storePath} is said to be at "${printable(utf8(url.slice(0, 300)))}"`)
    return narUrl
  }

  async #askInfo(call: Call): Promise<NixCacheInfo> {
    const document = await this.#document('nix-cache-info', NIX_CACHE_INFO_BYTES_MAX, call)
    const info = this.#blame(() => parseNixCacheInfo(document ?? new Uint8Array()))
    if (info.storeDir === STORE_DIR) return info
    const where = printable(utf8(info.storeDir))
    throw new StoreError(
      'precondition',
      `${this.name}: its paths are below ${where}, and only those below ${STORE_DIR} are of use here`,
    )
  }

  /** A small file of the cache; `undefined` when it is absent. */
  async #document(name: string, bytesMax: number, call: Call | undefined): Promise<Uint8Array | undefined> {
    if (this.#down && performance.now() < this.#down.until) throw this.#down.failure
    const url = new URL(name, this.address.url)
    using limited = withDeadline(call, HTTP_DOCUMENT_MS_MAX, shownUrl(url))
    try {
      const response = await this.#client.request(url, limited)
      if (response.status === 200) return await bodyOf(response, bytesMax, limited)
      response.body.discard()
      if (ABSENT.has(response.status)) return undefined
      throw unexpectedStatus(url, response.status)
    } catch (error) {
      if (!call?.signal?.aborted) this.#remember(error)
      throw blamed(error)
    }
  }

  /** A cache that is away is not waited for again at once: with several, the others answer meanwhile. */
  #remember(error: unknown): void {
    const failure = StoreError.from(error)
    if (failure.code !== 'unavailable' && failure.code !== 'deadline') return
    this.#down = { failure, until: performance.now() + NIX_CACHE_DOWN_MS }
  }

  #blame<T>(parse: () => T): T {
    try {
      return parse()
    } catch (error) {
      throw withContext(this.name, blamed(error))
    }
  }

  #corrupt(why: string): StoreError {
    return new StoreError('corrupt', `${this.name}: ${why}`)
  }
}

/** What a cache sent is at fault where its form is, and not the one who asked for it. */
export function blamed(error: unknown): StoreError {
  const failure = StoreError.from(error)
  if (failure.code !== 'invalid-argument') return failure
  return new StoreError('corrupt', failure.message, { cause: error })
}

/** Without its Content-Encoding: uploaders to buckets compress documents, and whoever reads them is told nothing else. */
async function bodyOf(
  { body, headers, url }: HttpResponse,
  bytesMax: number,
  call: Call,
): Promise<Uint8Array> {
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return await body.bytes(bytesMax)
  if (!isCompression(encoding)) {
    body.discard()
    throw new StoreError(
      'unimplemented',
      `${shownUrl(url)}: unknown Content-Encoding ${printable(utf8(encoding))}`,
    )
  }
  const pieces: Uint8Array[] = []
  for await (const piece of decompressed(body, encoding, { ...call, declaredBytes: bytesMax }))
    pieces.push(piece)
  return Buffer.concat(pieces)
}

function sri(digest: Uint8Array): string {
  return printNixHash({ algorithm: 'sha256', digest })
}
