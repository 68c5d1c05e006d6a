import { StoreError } from '../support/errors.ts'
import { BIGTABLE_CELL_BYTES_MAX } from '../support/limits.ts'

/** A piece of an answer of ReadRows, as far as we use it (google.bigtable.v2.ReadRowsResponse.CellChunk). */
export interface CellChunk {
  readonly rowKey?: Uint8Array | string | null
  readonly familyName?: { readonly value?: string | null } | null
  readonly qualifier?: { readonly value?: Uint8Array | string | null } | null
  readonly value?: Uint8Array | string | null
  /** Above 0 when more pieces of this cell follow. */
  readonly valueSize?: number | null
  readonly resetRow?: boolean | null
  readonly commitRow?: boolean | null
}

export interface BigtableRow {
  readonly key: string
  readonly value: Buffer
}

/**
 * Puts rows of one cell together from the pieces they come in: family, key and qualifier are said once, a value may
 * be in several pieces, and a row counts when it is committed. A row with another cell than ours is `corrupt`.
 */
export class RowAssembler {
  readonly #family: string
  #key: string | undefined
  #pieces: Buffer[] = []
  #bytes = 0
  #hasCell = false
  #isOpen = false

  constructor(family: string) {
    this.#family = family
  }

  /** A row, when the piece completes one. */
  push(chunk: CellChunk): BigtableRow | undefined {
    if (chunk.resetRow) return this.#reset()
    if (chunk.rowKey?.length) this.#key = text(chunk.rowKey)
    if (chunk.qualifier) this.#beginCell(chunk)
    if (!this.#isOpen || this.#key === undefined) throw this.#corrupt('has a value of no cell')
    const piece = Buffer.from(chunk.value ?? '')
    this.#bytes += piece.length
    if (this.#bytes > BIGTABLE_CELL_BYTES_MAX)
      throw this.#corrupt(`holds more than ${BIGTABLE_CELL_BYTES_MAX} bytes`)
    this.#pieces.push(piece)
    this.#isOpen = (chunk.valueSize ?? 0) > 0
    if (!chunk.commitRow) return undefined
    if (this.#isOpen) throw this.#corrupt('ends in the middle of a value')
    const row = { key: this.#key, value: Buffer.concat(this.#pieces) }
    this.#reset()
    return row
  }

  /** Call it at the end of the answer. */
  finish(): void {
    if (this.#hasCell) throw new StoreError('unavailable', `the answer ended inside of row ${this.#key}`)
  }

  #beginCell({ familyName, qualifier }: CellChunk): void {
    const column = text(qualifier?.value ?? '')
    if (this.#hasCell) throw this.#corrupt(`has another cell, ${column}`)
    const isForeignFamily = familyName?.value != null && familyName.value !== this.#family
    if (isForeignFamily || column !== this.#key)
      throw this.#corrupt(`has a column ${column} that is not its own`)
    this.#hasCell = true
    this.#isOpen = true
  }

  #reset(): undefined {
    this.#key = undefined
    this.#pieces = []
    this.#bytes = 0
    this.#hasCell = this.#isOpen = false
  }

  #corrupt(why: string): StoreError {
    return new StoreError('corrupt', `row ${this.#key ?? '(without a key)'} ${why}`)
  }
}

function text(bytes: Uint8Array | string): string {
  return Buffer.from(bytes as Uint8Array).toString('latin1')
}
