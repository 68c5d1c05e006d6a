import type { NarInfo } from '../../model/nix/narinfo.ts'
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

  /** Files are not told of. */
  file(): void {}

  /** Bytes of the NAR that came in. */
  read(bytes: number): void {
    this.#bytes += bytes
  }

  get progress(): string {
    return `${this.#bytes} of ${this.#size} bytes`
  }

  /** What came in by another way was of no use. */
  restart(): void {
    this.#bytes = 0
  }

  done(): void {
    this.#logger.info(this.#fields(), 'substituted')
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
      seconds: Number(seconds.toFixed(3)),
      bytes_per_second: Math.round(this.#bytes / Math.max(seconds, 0.001)),
    }
  }
}
