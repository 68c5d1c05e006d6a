/**
 * What is put into the cache (spec §7.3, §7.4), in any order. A narinfo becomes visible when its NAR is here and was
 * found to be what the narinfo says, and not before; until then it waits in the index.
 */
import { createHash } from 'node:crypto'
import { ValidationError } from '../../model/castore/validation-error.ts'
import type { NarInfo } from '../../model/nix/narinfo.ts'
import { parseNarInfo } from '../../model/nix/narinfo-parser.ts'
import { type NarFileName, parseNarFileName } from '../../model/nix/nix-http.ts'
import { encodeNixbase32 } from '../../model/nix/nixbase32.ts'
import { type PathInfo, pathInfoOf } from '../../model/nix/path-info.ts'
import { printSignature, type Signature } from '../../model/nix/signature.ts'
import type { NarIndex, PendingNarInfo, UploadedNar } from '../../services/nar-index/interface.ts'
import type { IngestedNar, IngestNar, PathInfoService } from '../../services/pathinfos/interface.ts'
import { equalBytes } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import type { Compression } from '../../support/decompress.ts'
import { StoreError } from '../../support/errors.ts'
import {
  HTTP_NAR_BYTES_MAX,
  HTTP_UPLOADS_MAX,
  NARINFO_BYTES_MAX,
  PENDING_NARINFO_MS_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { checkPathInfo } from '../../transfer/check-path-info.ts'
import type { Contents } from '../../transfer/render-nar.ts'
import { type HttpReply, type HttpRequest, lineReply, TEXT } from './exchange.ts'
import { Refusal } from './fault-reply.ts'
import { hasRoot } from './nar-content.ts'
import { decompressedUpload, readUpload, uploadOf } from './upload-body.ts'

export interface UploadParts extends Contents {
  readonly pathInfos: PathInfoService
  readonly narIndex: NarIndex
  readonly ingestNar: IngestNar
  readonly logger: Logger
  readonly now?: () => number
}

/** By the suffix of a file's name, which is what Nix appends to `.nar`. */
const COMPRESSIONS: Readonly<Record<string, Compression>> = {
  '': 'none',
  '.xz': 'xz',
  '.zst': 'zstd',
  '.bz2': 'bzip2',
  '.gz': 'gzip',
  '.br': 'br',
}

export function compressionOf(suffix: string): Compression | undefined {
  return Object.hasOwn(COMPRESSIONS, suffix) ? COMPRESSIONS[suffix] : undefined
}

const STORED: HttpReply = { status: 200, headers: { 'content-type': TEXT } }

export class Uploads {
  readonly #parts: UploadParts
  readonly #now: () => number
  #running = 0

  constructor(parts: UploadParts) {
    this.#parts = parts
    this.#now = parts.now ?? Date.now
  }

  /** The NAR of a file that was uploaded; `undefined` unless all of it is still stored. */
  async find(name: NarFileName, call: Call): Promise<UploadedNar | undefined> {
    const nar = await this.#parts.narIndex.get(name.sha256, call)
    if (nar?.suffix !== name.suffix) return undefined
    return (await hasRoot(this.#parts, nar.node, call)) ? nar : undefined
  }

  async putNar(request: HttpRequest, name: NarFileName | undefined): Promise<HttpReply> {
    const compression = name && compressionOf(name.suffix)
    if (!name || !compression)
      throw new Refusal(
        400,
        `a NAR has the name <SHA-256 of the file in nixbase32>.nar[${Object.keys(COMPRESSIONS).join('|')}]`,
      )
    if (this.#running >= HTTP_UPLOADS_MAX)
      throw new Refusal(503, 'too many uploads at once; try again later', { 'retry-after': '1' })
    this.#running++
    try {
      return await this.#storeNar(request, name, compression)
    } finally {
      this.#running--
    }
  }

  /** `outputHash`: of the URL. */
  async putNarInfo(request: HttpRequest, outputHash: Uint8Array): Promise<HttpReply> {
    const document = await readUpload(request, NARINFO_BYTES_MAX)
    const narInfo = parseNarInfo(document)
    if (!equalBytes(narInfo.storePath.digest, outputHash))
      throw new Refusal(400, `the URL is not that of ${narInfo.storePath}`)
    const nar = await this.#narOf(narInfo, request)
    if (nar) {
      await this.#publish(narInfo, nar, request)
      return STORED
    }
    const awaited = fileOf(narInfo)?.sha256 ?? narInfo.narSha256
    const pending = { outputHash, awaited, document, storedAt: this.#now() }
    await this.#wait(pending, request)
    // It may have come in between, and then nobody else looks at what waits for it.
    const arrived = await this.#narOf(narInfo, request)
    if (!arrived) return lineReply(200, 'kept, to become visible when its NAR is uploaded')
    await this.#publish(narInfo, arrived, request)
    await this.#parts.narIndex.removePending(pending, request)
    return STORED
  }

  /** What was left when the last process ended: publishes what has its NAR by now, and drops what waited too long. */
  async resume(call: Call): Promise<void> {
    for await (const pending of this.#parts.narIndex.listPending(call)) {
      try {
        await this.#settle(pending, call)
      } catch (error) {
        this.#parts.logger.warn({ err: StoreError.from(error) }, 'a narinfo that waited is not published')
      }
    }
  }

  async #storeNar(request: HttpRequest, name: NarFileName, compression: Compression): Promise<HttpReply> {
    const file = new HashedFile(uploadOf(request, HTTP_NAR_BYTES_MAX))
    const contents = decompressedUpload(file.read(), compression, request)
    const ingested = await this.#parts.ingestNar(contents, { signal: request.signal })
    const sha256 = file.digest()
    if (!equalBytes(sha256, name.sha256))
      throw new Refusal(400, `the file has the SHA-256 ${encodeNixbase32(sha256)}, its name another`)
    await this.#remember(ingested, { sha256, size: BigInt(file.size), suffix: name.suffix }, request)
    const waiting = [...(await this.#parts.narIndex.pendingOf(sha256, request))]
    if (name.suffix !== '')
      waiting.push(...(await this.#parts.narIndex.pendingOf(ingested.narSha256, request)))
    let refusal: unknown
    for (const pending of waiting) {
      try {
        await this.#settle(pending, request)
      } catch (error) {
        refusal ??= error
      }
    }
    // Who put the narinfo was told that it is kept. This is the last chance to say that it was not.
    if (refusal) throw refusal
    return STORED
  }

  async #remember(
    { node, narSha256, narSize }: IngestedNar,
    file: { readonly sha256: Uint8Array; readonly size: bigint; readonly suffix: string },
    call: Call,
  ): Promise<void> {
    const nar = { node, narSha256, narSize }
    await this.#parts.narIndex.put(narSha256, { ...nar, fileSize: narSize, suffix: '' }, call)
    if (file.suffix === '') return
    await this.#parts.narIndex.put(file.sha256, { ...nar, fileSize: file.size, suffix: file.suffix }, call)
  }

  async #wait(pending: PendingNarInfo, call: Call): Promise<void> {
    try {
      await this.#parts.narIndex.addPending(pending, call)
    } catch (error) {
      if (StoreError.from(error).code !== 'exhausted') throw error
      throw new Refusal(429, 'too many narinfos wait for their NARs: upload NARs first', {
        'retry-after': '60',
      })
    }
  }

  /** Publishes it if its NAR is here. What can never be published, or waited too long, is dropped. */
  async #settle(pending: PendingNarInfo, call: Call): Promise<void> {
    const { narIndex, logger } = this.#parts
    const isOver = this.#now() - pending.storedAt > PENDING_NARINFO_MS_MAX
    if (isOver) return narIndex.removePending(pending, call)
    try {
      const narInfo = parseNarInfo(pending.document)
      const nar = await this.#narOf(narInfo, call)
      if (!nar) return
      await this.#publish(narInfo, nar, call)
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof ValidationError)) throw error
      logger.warn({ reason: error.message }, 'dropped a narinfo that does not fit its NAR')
      await narIndex.removePending(pending, call)
      throw new Refusal(400, `the NAR is stored, but a narinfo that waited for it is wrong: ${error.message}`)
    }
    await narIndex.removePending(pending, call)
  }

  /** What the narinfo tells of, by its file or else by its hash. Throws a Refusal when it tells of another file. */
  async #narOf(narInfo: NarInfo, call: Call): Promise<UploadedNar | undefined> {
    const file = fileOf(narInfo)
    if (file && narInfo.fileHash && !equalBytes(file.sha256, narInfo.fileHash))
      throw new Refusal(400, 'FileHash is not the hash in URL')
    const uploaded = file && (await this.find(file, call))
    if (!uploaded) return await this.find({ sha256: narInfo.narSha256, suffix: '' }, call)
    if (narInfo.fileSize !== undefined && narInfo.fileSize !== uploaded.fileSize)
      throw new Refusal(400, `FileSize is ${narInfo.fileSize}, but the file has ${uploaded.fileSize} bytes`)
    return uploaded
  }

  async #publish(narInfo: NarInfo, nar: UploadedNar, call: Call): Promise<void> {
    const { pathInfos } = this.#parts
    await checkPathInfo(this.#parts, narInfo, nar, call)
    const pathInfo = pathInfoOf(narInfo, nar.node)
    const existing = await pathInfos.get(pathInfo.storePath.digest, call)
    await pathInfos.put(existing ? withSignaturesOf(pathInfo, existing) : pathInfo, call)
  }
}

/** The file that the narinfo's URL names, where it has the form that uploads have here. */
function fileOf({ url }: NarInfo): NarFileName | undefined {
  const [, name] = /^(?:\.\/)?nar\/([^/?#]+)$/.exec(url) ?? []
  return name === undefined ? undefined : parseNarFileName(name)
}

/** Whoever uploads a path again must not take away what others signed, as long as it is the same. */
function withSignaturesOf(pathInfo: PathInfo, existing: PathInfo): PathInfo {
  const isSame =
    existing.storePath.compare(pathInfo.storePath) === 0 &&
    existing.narSize === pathInfo.narSize &&
    equalBytes(existing.narSha256, pathInfo.narSha256) &&
    existing.references.join(' ') === pathInfo.references.join(' ')
  if (!isSame) return pathInfo
  const signatures = new Map<string, Signature>()
  for (const signature of [...existing.signatures, ...pathInfo.signatures])
    signatures.set(printSignature(signature), signature)
  return { ...pathInfo, signatures: [...signatures.values()] }
}

/** Hashes a file as it is read. */
class HashedFile {
  readonly #source: AsyncIterable<Uint8Array>
  readonly #hash = createHash('sha256')
  size = 0

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for await (const piece of this.#source) {
      this.#hash.update(piece)
      this.size += piece.length
      yield piece
    }
  }

  digest(): Uint8Array {
    return this.#hash.digest()
  }
}
