import { fileError } from './file-error.ts'
import type { FileOps } from './file-ops.ts'

/** An object that nobody sees before it is kept. After a failure only `abort` may be called. */
export interface StreamedObject {
  /** Of the file that it is written to, until `keep` or `abort`. */
  readonly fd: number
  /** Resolves when the bytes are the caller's again. */
  write(bytes: Uint8Array): Promise<void>
  /** Resolves when it is there durably. What is there already under the key is replaced. */
  keep(key: string): Promise<void>
  /** Does nothing after `keep`. */
  abort(): Promise<void>
}

/** A temp file that is written piece by piece; large enough for an fsync of its own. */
export class TempObject implements StreamedObject {
  readonly fd: number
  readonly #temp: string
  readonly #ops: FileOps
  readonly #rename: (key: string) => Promise<void>
  #isOpen = true
  #isKept = false

  constructor(fd: number, temp: string, ops: FileOps, rename: (key: string) => Promise<void>) {
    this.fd = fd
    this.#temp = temp
    this.#ops = ops
    this.#rename = rename
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let written = 0; written < bytes.length; )
        written += await this.#ops.write(this.fd, bytes, written)
    } catch (error) {
      throw fileError(`writing ${this.#temp}`, error)
    }
  }

  async keep(key: string): Promise<void> {
    try {
      await this.#ops.fsync(this.fd)
      this.#close()
      await this.#rename(key)
      this.#isKept = true
    } catch (error) {
      throw fileError(`storing ${key}`, error)
    }
  }

  async abort(): Promise<void> {
    this.#close()
    if (!this.#isKept) await this.#ops.unlink(this.#temp).catch(() => {}) // stale temp files are removed later
  }

  #close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#ops.close(this.fd)
  }
}
