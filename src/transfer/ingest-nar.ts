/**
 * A NAR becomes blobs and directories in one pass (spec §6.2), hashed as it goes by. Small blobs are uploaded side by
 * side within the budget of the process (nar-uploads.ts); large ones are streamed, and the next begins while the last is on
 * its way to the disk. Directories (nar-directories.ts) become visible when all blobs are stored.
 */
import type { Digest } from '../model/castore/digest.ts'
import type { Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import type { NarEvent } from '../model/nar/event.ts'
import { NarParser } from '../model/nar/parser.ts'
import type { BlobService, BlobWriter } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { IngestedNar, IngestNarOptions, IngestProgress } from '../services/pathinfos/interface.ts'
import { throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import {
  NAR_PIECE_BYTES_MAX,
  NAR_SHARED_BYTES,
  NAR_SHARED_FILE_BYTES_MAX,
  NAR_TURN_MS_MAX,
  SMALL_BLOB_BYTES_MAX,
} from '../support/limits.ts'
import { Turn } from '../support/turn.ts'
import { NarContentHash } from './nar-content-hash.ts'
import { NarDirectories } from './nar-directories.ts'
import { NarUploads } from './nar-uploads.ts'
import { PassingHash } from './passing-hash.ts'

/**
 * Stores what the NAR contains and tells its root node, size and SHA-256. The pieces must stay as they are once they
 * were handed over. Throws ValidationError, naming the byte and the place in the tree, for what is no NAR, goes on
 * after its end or ends early; `exhausted` for open directories that need too much memory. What was uploaded before a
 * failure is garbage, never a lie: directories are stored last, when every blob is.
 */
export async function ingestNar(
  services: { readonly blobs: BlobService; readonly directories: DirectoryService },
  nar: AsyncIterable<Uint8Array>,
  options: IngestNarOptions = {},
): Promise<IngestedNar> {
  const controller = new AbortController()
  const forward = () => controller.abort(options.signal?.reason)
  options.signal?.addEventListener('abort', forward, { once: true })
  if (options.signal?.aborted) forward()
  const uploads = new NarUploads(services.blobs, controller, options.progress)
  const ingest = new NarIngest(uploads, services.directories, controller.signal, options)
  try {
    return await ingest.run(nar)
  } catch (error) {
    controller.abort(StoreError.from(error))
    await ingest.abandon()
    // An upload that failed aborts everything else, which then only says so.
    throw uploads.failure ?? error
  } finally {
    options.signal?.removeEventListener('abort', forward)
  }
}

class NarIngest {
  readonly #parser = new NarParser()
  readonly #sha256 = new PassingHash()
  readonly #content: NarContentHash | undefined
  readonly #uploads: NarUploads
  readonly #directories: NarDirectories
  readonly #signal: AbortSignal
  readonly #progress: IngestProgress | undefined
  readonly #turn = new Turn(NAR_TURN_MS_MAX)
  #file: { readonly size: number; readonly executable: boolean } | undefined
  /** One of the two takes the contents of the file that is open. */
  #small: { readonly contents: Buffer; filled: number } | undefined
  #large: BlobWriter | undefined
  /** The memory of small files, and how much of it is taken. */
  #shared = Buffer.alloc(0)
  #sharedUsed = 0

  constructor(
    uploads: NarUploads,
    directories: DirectoryService,
    signal: AbortSignal,
    { sizeFormula = 'rust', progress, contentAddress }: IngestNarOptions,
  ) {
    this.#uploads = uploads
    this.#directories = new NarDirectories(directories, { signal, sizeFormula })
    this.#signal = signal
    this.#progress = progress
    this.#content = contentAddress && new NarContentHash(contentAddress)
  }

  async run(nar: AsyncIterable<Uint8Array>): Promise<IngestedNar> {
    for await (const bytes of nar) {
      const behind = this.#sha256.update(bytes)
      for (let start = 0; start < bytes.length; start += NAR_PIECE_BYTES_MAX)
        await this.#take(bytes.subarray(start, start + NAR_PIECE_BYTES_MAX))
      if (behind) await behind
    }
    this.#located(() => this.#parser.finish())
    await this.#uploads.settle()
    const node = await this.#directories.close()
    const contentDigest = this.#content?.digest()
    return {
      node,
      narSize: BigInt(this.#parser.consumed),
      narSha256: await this.#sha256.digest(),
      ...(contentDigest && { contentDigest }),
    }
  }

  /** After a failure: nothing goes on behind the caller's back. */
  async abandon(): Promise<void> {
    await this.#large?.abort()
    await this.#uploads.abandon()
  }

  async #take(piece: Uint8Array): Promise<void> {
    throwIfAborted(this.#signal)
    if (this.#turn.isLong) await new Promise(setImmediate)
    this.#content?.nar(piece)
    const events = this.#parser.push(piece)
    for (;;) {
      const { done, value } = this.#located(() => events.next())
      if (done) break
      const busy = this.#handle(value)
      if (busy) await busy
    }
    if (this.#parser.unconsumed > 0)
      throw new ValidationError(
        'TrailingData',
        `the NAR ends at byte ${this.#parser.consumed}, but more follows`,
      )
    this.#progress?.read(piece.length)
  }

  /** A promise only where there is something to wait for: most events are framing. */
  #handle(event: NarEvent): Promise<void> | undefined {
    switch (event.type) {
      case 'directory':
        this.#directories.begin()
        return undefined
      case 'entry':
        this.#directories.enter(event.name)
        return undefined
      case 'end-directory':
        return this.#directories.end()
      case 'symlink':
        this.#directories.place({ kind: 'symlink', target: event.target })
        return undefined
      case 'file':
        return this.#beginFile(event.size, event.executable)
      case 'contents':
        return this.#contents(event.bytes)
      case 'end-file':
        this.#endFile()
        return undefined
    }
  }

  #beginFile(size: number, executable: boolean): Promise<void> | undefined {
    this.#file = { size, executable }
    this.#content?.beginFile(this.#directories.depth === 0 && !executable)
    if (size > SMALL_BLOB_BYTES_MAX) return this.#beginLarge()
    const begin = () => {
      this.#small = { contents: this.#memoryFor(size), filled: 0 }
    }
    const waiting = this.#uploads.reserve(size)
    if (waiting) return waiting.then(begin)
    begin()
    return undefined
  }

  async #beginLarge(): Promise<void> {
    this.#large = await this.#uploads.openWrite()
  }

  /** Small files share buffers: making one costs several times as much as filling it. */
  #memoryFor(size: number): Buffer {
    if (size > NAR_SHARED_FILE_BYTES_MAX) return Buffer.allocUnsafeSlow(size)
    if (this.#sharedUsed + size > this.#shared.length) {
      this.#shared = Buffer.allocUnsafeSlow(NAR_SHARED_BYTES)
      this.#sharedUsed = 0
    }
    this.#sharedUsed += size
    return this.#shared.subarray(this.#sharedUsed - size, this.#sharedUsed)
  }

  #contents(bytes: Uint8Array): Promise<void> | undefined {
    this.#content?.contents(bytes)
    if (!this.#small) return this.#large!.write(bytes)
    this.#small.contents.set(bytes, this.#small.filled)
    this.#small.filled += bytes.length
    return undefined
  }

  #endFile(): void {
    const { size, executable } = this.#file!
    const nodeOf = (digest: Digest): Node => ({ kind: 'file', digest, size: BigInt(size), executable })
    if (this.#small) {
      this.#directories.place(nodeOf(this.#uploads.start(this.#small.contents)))
      this.#small = undefined
    } else {
      this.#directories.place(this.#uploads.finish(this.#large!).then(nodeOf))
      this.#large = undefined
    }
  }

  /** The parser knows the byte; the place in the tree is known here. */
  #located<T>(step: () => T): T {
    try {
      return step()
    } catch (error) {
      if (!(error instanceof ValidationError) || this.#directories.depth === 0) throw error
      throw new ValidationError(error.variant, `${error.message} (in or after ${this.#directories.path})`, {
        cause: error,
      })
    }
  }
}
