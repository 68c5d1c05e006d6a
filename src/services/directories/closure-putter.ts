import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { LeavesToRootValidator } from '../../model/castore/directory-order.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { DIRECTORY_UPLOAD_BYTES_MAX } from '../../support/limits.ts'
import type { DirectoryPutter } from './interface.ts'
import { encodeForStorage } from './stored.ts'

/** A closure whose order, references and sizes are right. */
export interface Closure {
  readonly root: Digest
  /** Each directory once. */
  readonly leavesToRoot: readonly CollectedDirectory[]
}

export interface CollectedDirectory {
  readonly digest: Digest
  readonly encoded: Uint8Array
  /** The digests of its sub-directories in entry order, repetitions included. */
  readonly children: readonly Digest[]
}

/**
 * A putter that checks and collects, up to DIRECTORY_UPLOAD_BYTES_MAX, and hands over the complete closure on
 * `close`, so that nothing of a bad or broken-off upload is ever stored. After a failure it only repeats it.
 */
export function closurePutter(store: (closure: Closure) => Promise<void>, call?: Call): DirectoryPutter {
  return new ClosurePutter(store, call)
}

class ClosurePutter implements DirectoryPutter {
  readonly #store: (closure: Closure) => Promise<void>
  readonly #call: Call | undefined
  readonly #validator = new LeavesToRootValidator()
  readonly #collected: CollectedDirectory[] = []
  #bytes = 0
  #failure: unknown
  #closing: Promise<Digest> | undefined

  constructor(store: (closure: Closure) => Promise<void>, call: Call | undefined) {
    this.#store = store
    this.#call = call
  }

  async put(directory: Directory): Promise<void> {
    if (this.#closing) throw new StoreError('precondition', 'the upload of directories is closed already')
    if (this.#failure) throw this.#failure
    try {
      this.#collect(directory)
    } catch (error) {
      this.#failure = error
      throw error
    }
  }

  close(): Promise<Digest> {
    this.#closing ??= this.#finish()
    return this.#closing
  }

  #collect(directory: Directory): void {
    throwIfAborted(this.#call?.signal)
    const encoded = encodeForStorage(directory)
    if (!this.#validator.accept(directory)) return
    this.#bytes += encoded.length
    if (this.#bytes > DIRECTORY_UPLOAD_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `upload of more than ${DIRECTORY_UPLOAD_BYTES_MAX} bytes of directories; upload it in parts`,
      )
    const children = Array.from(directory.children(), (child) => child.digest)
    this.#collected.push({ digest: directory.digest, encoded, children })
  }

  async #finish(): Promise<Digest> {
    if (this.#failure) throw this.#failure
    throwIfAborted(this.#call?.signal)
    const root = this.#validator.finish()
    await this.#store({ root, leavesToRoot: this.#collected })
    return root
  }
}
