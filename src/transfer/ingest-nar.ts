/**
 * A NAR becomes blobs and directories in one pass (spec §6.2), hashed as it goes by. Small blobs are uploaded side by
 * side within the budget of the process (nar-uploads.ts); large ones are streamed, and the next begins while the last is on
 * its way to the disk. Directories (nar-directories.ts) become visible when all blobs are stored.
 */
import { ValidationError } from '../model/castore/validation-error.ts'
import type { NarEvent } from '../model/nar/event.ts'
import { NarParser } from '../model/nar/parser.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { IngestedNar, IngestNarOptions, IngestProgress } from '../services/pathinfos/interface.ts'
import { throwIfAborted } from '../support/call.ts'
import { NAR_PIECE_BYTES_MAX, NAR_TURN_MS_MAX } from '../support/limits.ts'
import { Turn } from '../support/turn.ts'
import { type ArchiveFiles, ingestArchive } from './archive-files.ts'
import { NarContentHash } from './nar-content-hash.ts'
import { NarDirectories } from './nar-directories.ts'
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
  return await ingestArchive(services.blobs, options, async (files, signal) => {
    const ingest = new NarIngest(files, services.directories, signal, options)
    return await ingest.run(nar)
  })
}

class NarIngest {
  readonly #parser = new NarParser()
  readonly #sha256 = new PassingHash()
  readonly #content: NarContentHash | undefined
  readonly #files: ArchiveFiles
  readonly #directories: NarDirectories
  readonly #signal: AbortSignal
  readonly #progress: IngestProgress | undefined
  readonly #turn = new Turn(NAR_TURN_MS_MAX)

  constructor(
    files: ArchiveFiles,
    directories: DirectoryService,
    signal: AbortSignal,
    { sizeFormula = 'rust', progress, contentAddress }: IngestNarOptions,
  ) {
    this.#files = files
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
    await this.#files.settle()
    const node = await this.#directories.close()
    const contentDigest = this.#content?.digest()
    return {
      node,
      narSize: BigInt(this.#parser.consumed),
      narSha256: await this.#sha256.digest(),
      ...(contentDigest && { contentDigest }),
    }
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
        this.#directories.place(this.#files.end())
        return undefined
    }
  }

  #beginFile(size: number, executable: boolean): Promise<void> | undefined {
    this.#content?.beginFile(this.#directories.depth === 0 && !executable)
    return this.#files.begin(size, executable)
  }

  #contents(bytes: Uint8Array): Promise<void> | undefined {
    this.#content?.contents(bytes)
    return this.#files.write(bytes)
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
