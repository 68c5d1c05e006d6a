import type { NarInfo } from '../../model/nix/narinfo.ts'
import { hex } from '../../support/bytes.ts'
import { SUBSTITUTE_PROGRESS_MS } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'

/** Tells of one path that is being substituted: when it begins, on the way for those who debug, and how it ended. */
export class SubstitutionLog implements Disposable {
  readonly #logger: Logger
  readonly #path: string
  readonly #size: number
  readonly #began = performance.now()
  readonly #timer: NodeJS.Timeout
  #bytes = 0
  #files = 0

  constructor(logger: Logger, narInfo: NarInfo, cache: string) {
    this.#logger = logger
    this.#path = narInfo.storePath.toString()
    this.#size = Number(narInfo.narSize)
    logger.info(
      {
        path: this.#path,
        cache,
        bytes: this.#size,
        ...(narInfo.fileSize !== undefined && { download_bytes: Number(narInfo.fileSize) }),
      },
      'substituting',
    )
    this.#timer = setInterval(
      () => this.#logger.debug(this.#fields(), 'still substituting'),
      SUBSTITUTE_PROGRESS_MS,
    )
    this.#timer.unref()
  }

  /** The contents of a file are stored. */
  file(): void {
    this.#files++
  }

  /** Bytes of the NAR that came in. */
  read(bytes: number): void {
    this.#bytes += bytes
  }

  get progress(): string {
    return `${this.#bytes} of ${this.#size} bytes`
  }

  done(narSha256: Uint8Array): void {
    this.#logger.info({ ...this.#fields(), nar_sha256: hex(narSha256) }, 'substituted')
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #fields() {
    const seconds = (performance.now() - this.#began) / 1000
    return {
      path: this.#path,
      bytes: this.#bytes,
      of: this.#size,
      files: this.#files,
      seconds: Number(seconds.toFixed(1)),
      bytes_per_second: Math.round(this.#bytes / Math.max(seconds, 0.001)),
    }
  }
}
