/**
 * A tar archive becomes blobs and directories in one pass (spec §8.3). Files are uploaded as they go by, in the way of those of
 * a NAR; entries come in any order, so directories are made when the last one is known.
 */
import type { SizeFormula } from '../model/castore/directory.ts'
import type { DirectoryNode } from '../model/castore/node.ts'
import type { TarEvent } from '../model/tar/event.ts'
import { TarParser } from '../model/tar/parser.ts'
import type { BlobService } from '../services/blobs/interface.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import { throwIfAborted } from '../support/call.ts'
import { NAR_PIECE_BYTES_MAX, NAR_TURN_MS_MAX } from '../support/limits.ts'
import { Turn } from '../support/turn.ts'
import { type ArchiveFiles, type ArchiveOptions, ingestArchive } from './archive-files.ts'
import { NarDirectories } from './nar-directories.ts'
import { putFolder, TarTree } from './tar-tree.ts'

export interface IngestTarOptions extends ArchiveOptions {
  /** How sub-directory sizes are written (DESIGN §3.4). */
  readonly sizeFormula: SizeFormula
}

/**
 * Stores what the one directory at the top of an uncompressed tar contains. The pieces must stay as they are once they were
 * handed over. Throws ValidationError, naming the byte or the entry, for what is no tar, ends early or has entries that no store path
 * can have; `exhausted` for more than the limits. What was uploaded before a failure is garbage, never a lie:
 * directories are stored last, when every blob is.
 */
export async function ingestTar(
  services: { readonly blobs: BlobService; readonly directories: DirectoryService },
  tar: AsyncIterable<Uint8Array>,
  options: IngestTarOptions,
): Promise<DirectoryNode> {
  return await ingestArchive(services.blobs, options, async (files, signal) => {
    const ingest = new TarIngest(files, signal, options)
    return await ingest.run(tar, new NarDirectories(services.directories, { ...options, signal }))
  })
}

const ZEROS = new Uint8Array(NAR_PIECE_BYTES_MAX)

class TarIngest {
  readonly #parser = new TarParser()
  readonly #tree = new TarTree()
  readonly #files: ArchiveFiles
  readonly #signal: AbortSignal
  readonly #options: IngestTarOptions
  readonly #turn = new Turn(NAR_TURN_MS_MAX)
  /** Of the file that is open. */
  #place: Extract<TarEvent, { type: 'file' }>['path'] = []

  constructor(files: ArchiveFiles, signal: AbortSignal, options: IngestTarOptions) {
    this.#files = files
    this.#signal = signal
    this.#options = options
  }

  async run(tar: AsyncIterable<Uint8Array>, directories: NarDirectories): Promise<DirectoryNode> {
    for await (const bytes of tar)
      for (let start = 0; start < bytes.length; start += NAR_PIECE_BYTES_MAX)
        await this.#take(bytes.subarray(start, start + NAR_PIECE_BYTES_MAX))
    this.#parser.finish()
    const { root } = this.#tree
    await this.#files.settle()
    await putFolder(root, directories)
    return (await directories.close()) as DirectoryNode
  }

  async #take(piece: Uint8Array): Promise<void> {
    throwIfAborted(this.#signal)
    if (this.#turn.isLong) await new Promise(setImmediate)
    for (const event of this.#parser.push(piece)) {
      const busy = this.#handle(event)
      if (busy) await busy
    }
    this.#options.progress?.read(piece.length)
  }

  /** A promise only where there is something to wait for. */
  #handle(event: TarEvent): Promise<void> | undefined {
    switch (event.type) {
      case 'directory':
        this.#tree.placeDirectory(event.path)
        return undefined
      case 'file':
        this.#place = event.path
        return this.#files.begin(event.size, event.executable)
      case 'contents':
        return this.#files.write(event.bytes)
      case 'hole':
        return this.#writeZeros(event.size)
      case 'end-file':
        this.#tree.place(this.#place, this.#files.end())
        return undefined
      case 'symlink':
        this.#tree.place(event.path, { kind: 'symlink', target: event.target })
        return undefined
      case 'hard-link':
        this.#tree.placeLink(event.path, event.target)
        return undefined
    }
  }

  async #writeZeros(size: number): Promise<void> {
    for (let missing = size; missing > 0; missing -= ZEROS.length) {
      throwIfAborted(this.#signal)
      if (this.#turn.isLong) await new Promise(setImmediate)
      await this.#files.write(ZEROS.subarray(0, missing))
    }
  }
}
