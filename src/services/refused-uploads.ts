import { utf8, view } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { REFUSAL_CHARACTERS_MAX } from '../support/limits.ts'
import type { LmdbTable } from './lmdb-table.ts'
import { encodeUpload, keyOf, kindOf, type QueuedKind, uploadName } from './queued-upload.ts'

/** One that far does not take (a permission, a limit), for people. */
export interface RefusedUpload {
  /** `blob b3:…` */
  readonly name: string
  readonly reason: string
}

/** Throws `precondition` when far refused what the caller is about to refer to. */
export type CheckNotRefused = (kind: QueuedKind, key: Uint8Array) => void

/**
 * What far refused, beside the queue, so that the rest of that goes on: kept until far takes it. By kind and key, so that
 * whoever refers to one of them can be held back, and so that they are tried again in the order of the kinds.
 */
export class RefusedUploads {
  readonly #table: LmdbTable
  #count = 0

  constructor(table: LmdbTable) {
    this.#table = table
    this.#count = table.count()
  }

  get count(): number {
    return this.#count
  }

  /** Up to `limit` after `previous`, as `encodeUpload` makes them. */
  page(previous: Uint8Array | undefined, limit: number): Uint8Array[] {
    return this.#table.page(previous, limit).map(({ key }) => key)
  }

  readonly check: CheckNotRefused = (kind, key) => {
    if (this.#count > 0 && this.#table.get(encodeUpload(kind, key)))
      throw new StoreError('precondition', `${uploadName(kind, key)}, which it refers to, was refused`)
  }

  /** Whether it is a new one. */
  async add(upload: Uint8Array, error: StoreError): Promise<boolean> {
    const isNew = this.#table.get(upload) === undefined
    const reason = `${error.code}: ${error.message}`.slice(0, REFUSAL_CHARACTERS_MAX)
    await this.#table.put([{ key: upload, value: utf8(reason) }])
    if (isNew) this.#count++
    return isNew
  }

  /** Far has it now; whether it was here. */
  async remove(upload: Uint8Array): Promise<boolean> {
    if (this.#count === 0 || !this.#table.get(upload)) return false
    await this.#table.remove([upload])
    this.#count--
    return true
  }
}

/** The first of a table of refused uploads. */
export function listRefused(table: LmdbTable, limit: number): RefusedUpload[] {
  return table.page(undefined, limit).map(({ key, value }) => ({
    name: uploadName(kindOf(key), keyOf(key)),
    reason: view(value).toString('utf8'),
  }))
}
