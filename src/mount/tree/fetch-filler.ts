import { Digest } from '../../model/castore/digest.ts'
import { withDeadline } from '../../support/call.ts'
import { FILL_AFAR_FETCHES_MAX, FILL_AFAR_WAITING_MAX, MOUNT_CALL_MS_MAX } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { FileContents, FileReader } from './file-reader.ts'
import { FILL_RECORD } from './fill-ahead.ts'
import type { PageFiller } from './interface.ts'

/**
 * Brings small files from afar into memory, several at a time, so that whoever reads one after the other does not wait
 * for a round trip each.
 */
export class FetchFiller implements PageFiller {
  readonly #files: FileReader
  readonly #logger: Logger
  readonly #closing: AbortSignal
  readonly #waiting: FileContents[] = []
  #running = 0

  constructor(files: FileReader, logger: Logger, closing: AbortSignal) {
    this.#files = files
    this.#logger = logger
    this.#closing = closing
  }

  fill(records: Uint8Array, isUrgent: boolean): boolean {
    if (this.#closing.aborted) return false
    const wanted = filesOf(records)
    if (this.#waiting.length > 0 && this.#waiting.length + wanted.length > FILL_AFAR_WAITING_MAX) return false
    if (isUrgent) this.#waiting.unshift(...wanted)
    else this.#waiting.push(...wanted)
    while (this.#running < FILL_AFAR_FETCHES_MAX && this.#waiting.length > 0) void this.#run()
    return true
  }

  async #run(): Promise<void> {
    this.#running++
    for (let next = this.#waiting.shift(); next && !this.#closing.aborted; next = this.#waiting.shift())
      await this.#fetch(next)
    this.#running--
  }

  /** A failure is nobody's concern here: whoever reads the file meets it again. */
  async #fetch(file: FileContents): Promise<void> {
    using call = withDeadline({ signal: this.#closing }, MOUNT_CALL_MS_MAX, 'fetching ahead')
    try {
      await this.#files.fetchAhead(file, { start: 0, end: file.size }, call)
    } catch (error) {
      this.#logger.debug({ err: error }, 'fetching ahead failed')
    }
  }
}

function filesOf(records: Uint8Array): FileContents[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const files: FileContents[] = []
  for (let at = 0; at < records.length; at += FILL_RECORD.bytes) {
    const digest = records.slice(at + FILL_RECORD.digest, at + FILL_RECORD.place)
    files.push({ digest: Digest.fromBytes(digest), size: view.getUint32(at + FILL_RECORD.size, true) })
  }
  return files
}
