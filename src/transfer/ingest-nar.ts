/**
 * A NAR becomes blobs and directories in one pass (spec §6.2), hashed as it goes by. Small blobs are uploaded side by
 * side within the budget of the process; large ones are streamed, and the next begins while the last is on its way to the
 * disk. What a directory is made of is known when it ends, but for the large blobs in it, so it is made then or soon after;
 * directories are stored when all blobs are.
 */
import { createHash, type Hash } from 'node:crypto'
import type { Digest } from '../model/castore/digest.ts'
import { Directory, type SizeFormula } from '../model/castore/directory.ts'
import type { Entry, Node } from '../model/castore/node.ts'
import type { PathComponent } from '../model/castore/path-component.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import type { NarEvent } from '../model/nar/event.ts'
import { NarParser } from '../model/nar/parser.ts'
import type { ContentAddress } from '../model/nix/content-address.ts'
import type { BlobService, BlobWriter } from '../services/blobs/interface.ts'
import type { DirectoryPutter, DirectoryService } from '../services/directories/interface.ts'
import type { IngestedNar, IngestNarOptions, IngestProgress } from '../services/pathinfos/interface.ts'
import { concatBytes, printable, utf8 } from '../support/bytes.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { Semaphore } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import {
  NAR_LARGE_UPLOADS_MAX,
  NAR_OPEN_ENTRIES_BYTES_MAX,
  NAR_OPEN_ENTRY_BYTES,
  NAR_PENDING_ENTRIES_BYTES_MAX,
  NAR_PIECE_BYTES_MAX,
  NAR_SHARED_BYTES,
  NAR_SHARED_FILE_BYTES_MAX,
  NAR_TURN_MS_MAX,
  NAR_UPLOADS_MAX,
  SMALL_BLOB_BYTES_MAX,
} from '../support/limits.ts'
import { Turn } from '../support/turn.ts'
import { BlobUploader } from './blob-uploader.ts'
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
  const uploads = new Uploads(services.blobs, controller, options.progress)
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

/** Of a large blob that is not stored yet, or a directory that has one below it. */
type Pending = Promise<Node>

interface OpenDirectory {
  readonly entries: { readonly name: PathComponent; readonly node: Node | Pending }[]
  /** Of the entry that is being read. */
  name: PathComponent | undefined
  bytes: number
}

class NarIngest {
  readonly #parser = new NarParser()
  readonly #sha256 = new PassingHash()
  readonly #content: ContentHash | undefined
  readonly #uploads: Uploads
  readonly #directories: DirectoryService
  readonly #signal: AbortSignal
  readonly #sizeFormula: SizeFormula
  readonly #progress: IngestProgress | undefined
  readonly #open: OpenDirectory[] = []
  readonly #turn = new Turn(NAR_TURN_MS_MAX)
  #openBytes = 0
  #file: { readonly size: number; readonly executable: boolean } | undefined
  /** One of the two takes the contents of the file that is open. */
  #small: { readonly contents: Buffer; filled: number } | undefined
  #large: BlobWriter | undefined
  /** The memory of small files, and how much of it is taken. */
  #shared = Buffer.alloc(0)
  #sharedUsed = 0
  #root: Node | Pending | undefined
  #putter: DirectoryPutter | undefined
  #lastPut: Promise<void> = Promise.resolve()

  constructor(
    uploads: Uploads,
    directories: DirectoryService,
    signal: AbortSignal,
    { sizeFormula = 'rust', progress, contentAddress }: IngestNarOptions,
  ) {
    this.#uploads = uploads
    this.#directories = directories
    this.#signal = signal
    this.#sizeFormula = sizeFormula
    this.#progress = progress
    this.#content = contentAddress && new ContentHash(contentAddress)
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
    const node = await this.#root!
    // Only now: a directory must not be there before what it refers to.
    if (this.#putter) await this.#putter.close()
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
        this.#open.push({ entries: [], name: undefined, bytes: 0 })
        return undefined
      case 'entry':
        this.#open.at(-1)!.name = event.name
        return undefined
      case 'end-directory':
        return this.#endDirectory()
      case 'symlink':
        this.#place({ kind: 'symlink', target: event.target }, event.target.length)
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
    this.#content?.beginFile(this.#open.length === 0 && !executable)
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
      this.#place(nodeOf(this.#uploads.start(this.#small.contents)))
      this.#small = undefined
    } else {
      this.#place(pending(this.#uploads.finish(this.#large!).then(nodeOf)))
      this.#large = undefined
    }
  }

  #endDirectory(): Promise<void> | undefined {
    const open = this.#open.pop()!
    if (open.entries.some(({ node }) => node instanceof Promise)) {
      const node = pending(this.#finishPending(open))
      this.#place(node)
      // What waits takes memory: little in most directories.
      return open.bytes > NAR_PENDING_ENTRIES_BYTES_MAX ? node.then(() => {}) : undefined
    }
    const directory = Directory.from(open.entries as Entry[])
    this.#openBytes -= open.bytes
    this.#place(this.#nodeOf(directory))
    return this.#put(directory)
  }

  async #finishPending(open: OpenDirectory): Promise<Node> {
    const entries: Entry[] = []
    for (const { name, node } of open.entries) entries.push({ name, node: await node })
    const directory = Directory.from(entries)
    this.#openBytes -= open.bytes
    await this.#put(directory)
    return this.#nodeOf(directory)
  }

  #nodeOf(directory: Directory): Node {
    return { kind: 'directory', digest: directory.digest, size: directory.size(this.#sizeFormula) }
  }

  /** One after the other: a putter is a stream. */
  #put(directory: Directory): Promise<void> {
    this.#putter ??= this.#directories.startPutter({ signal: this.#signal })
    const putter = this.#putter
    this.#lastPut = this.#lastPut.then(() => putter.put(directory))
    return this.#lastPut
  }

  #place(node: Node | Pending, targetBytes = 0): void {
    const parent = this.#open.at(-1)
    if (!parent) {
      this.#root = node
      return
    }
    const bytes = NAR_OPEN_ENTRY_BYTES + parent.name!.length + targetBytes
    parent.bytes += bytes
    this.#openBytes += bytes
    if (this.#openBytes > NAR_OPEN_ENTRIES_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `NAR: the directories around ${this.#path()} take more than ${NAR_OPEN_ENTRIES_BYTES_MAX} bytes of memory`,
      )
    parent.entries.push({ name: parent.name!, node })
  }

  /** The parser knows the byte; the place in the tree is known here. */
  #located<T>(step: () => T): T {
    try {
      return step()
    } catch (error) {
      if (!(error instanceof ValidationError) || this.#open.length === 0) throw error
      throw new ValidationError(error.variant, `${error.message} (in or after ${this.#path()})`, {
        cause: error,
      })
    }
  }

  #path(): string {
    const names = this.#open.flatMap(({ name }) => (name ? [SLASH, name] : []))
    return `"${printable(concatBytes(names)) || '/'}"`
  }
}

const SLASH = utf8('/')

/** Awaited later, if the ingestion gets there: its failure is told by the uploads. */
function pending(node: Promise<Node>): Pending {
  node.catch(() => {})
  return node
}

/** The blobs of one NAR on their way, bounded by number and by the budget of bytes. */
class Uploads {
  readonly #uploader: BlobUploader
  readonly #controller: AbortController
  readonly #progress: IngestProgress | undefined
  readonly #places: Semaphore
  readonly #largePlaces = new Semaphore(NAR_LARGE_UPLOADS_MAX)
  #running = 0
  /** Called when nothing runs any more. */
  #ended: (() => void) | undefined
  /** Gives back what was reserved for the blob that is being read. */
  #release: (() => void) | undefined
  failure: StoreError | undefined

  constructor(blobs: BlobService, controller: AbortController, progress: IngestProgress | undefined) {
    this.#uploader = new BlobUploader(blobs)
    this.#places = new Semaphore(blobs.smallWrites?.atOnceMax ?? NAR_UPLOADS_MAX)
    this.#controller = controller
    this.#progress = progress
  }

  get #call(): Call {
    return { signal: this.#controller.signal }
  }

  /** Waits while many large ones are on their way to the disk. */
  async openWrite(): Promise<BlobWriter> {
    this.#release = await this.#largePlaces.acquire(1, this.#controller.signal)
    return this.#uploader.blobs.openWrite(this.#call)
  }

  /** Resolves when the blob that was written is stored, which `settle` waits for. */
  finish(writer: BlobWriter): Promise<Digest> {
    const release = this.#release
    this.#release = undefined
    const stored = writer.close().catch(async (error) => {
      await writer.abort()
      throw error
    })
    this.#track(stored, release)
    return stored
  }

  /** A promise only where there is something to wait for. */
  reserve(bytes: number): Promise<void> | undefined {
    const place = this.#places.tryAcquire()
    const memory = place && this.#uploader.tryReserve(bytes)
    if (!place || !memory) {
      place?.()
      return this.#waitFor(bytes)
    }
    this.#hold(place, memory)
    return undefined
  }

  async #waitFor(bytes: number): Promise<void> {
    const place = await this.#places.acquire(1, this.#controller.signal)
    this.#release = place
    this.#hold(place, await this.#uploader.reserve(bytes, this.#call))
  }

  #hold(place: () => void, memory: () => void): void {
    this.#release = () => {
      memory()
      place()
    }
  }

  /** Begins to store the blob that was reserved for. */
  start(contents: Uint8Array): Digest {
    const release = this.#release
    this.#release = undefined
    const { digest, stored } = this.#uploader.start(contents, this.#call)
    this.#track(stored, release)
    return digest
  }

  #track(stored: Promise<unknown>, release: (() => void) | undefined): void {
    this.#running++
    const end = () => {
      release?.()
      if (--this.#running === 0) this.#ended?.()
    }
    stored.then(
      () => {
        this.#progress?.file()
        end()
      },
      (error) => {
        this.failure ??= StoreError.from(error)
        this.#controller.abort(this.failure)
        end()
      },
    )
  }

  /** Throws the first failure, when nothing runs any more. */
  async settle(): Promise<void> {
    await this.#idle()
    if (this.failure) throw this.failure
  }

  async abandon(): Promise<void> {
    this.#release?.()
    await this.#idle()
  }

  async #idle(): Promise<void> {
    if (this.#running === 0) return
    await new Promise<void>((resolve) => {
      this.#ended = resolve
    })
  }
}

/** What the content address is to be compared with: the NAR, or the contents of the file that it is. */
class ContentHash {
  readonly #ofNar: boolean
  readonly #hash: Hash
  #isFile = false

  constructor({ kind, algorithm }: ContentAddress) {
    this.#ofNar = kind === 'nar'
    this.#hash = createHash(algorithm)
  }

  nar(piece: Uint8Array): void {
    if (this.#ofNar) this.#hash.update(piece)
  }

  /** `isWhole`: the NAR is this file and nothing else, and not executable (which contents do not tell). */
  beginFile(isWhole: boolean): void {
    this.#isFile = isWhole
  }

  contents(bytes: Uint8Array): void {
    if (!this.#ofNar && this.#isFile) this.#hash.update(bytes)
  }

  digest(): Uint8Array | undefined {
    return this.#ofNar || this.#isFile ? this.#hash.digest() : undefined
  }
}
