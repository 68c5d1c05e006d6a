/**
 * The names and NAR sizes of many store paths in little memory: about 75 bytes a path, and three objects however
 * many there are. Sorted by name, since that is how people look for one.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { StorePath } from '../../../model/nix/store-path.ts'
import { type Call, throwIfAborted } from '../../../support/call.ts'
import type { Turn } from '../../../support/turn.ts'

export interface NamedPath {
  readonly storePath: StorePath
  /** Bytes. */
  readonly narSize: number
}

export interface Found {
  /** How many match in all. */
  readonly total: number
  readonly paths: readonly NamedPath[]
}

const HASH_CHARACTERS = 32
/** Rows that are searched at a time: about 250 KiB of text. */
const SEARCH_ROWS = 4_096

export class PackedNames {
  static readonly EMPTY = PackedNames.of([])

  /** Bytes of all NARs. */
  readonly narSize: number
  /** `<name> <hash>` after `<name> <hash>`. The space sorts before every character that a name can have. */
  readonly #text: Buffer
  /** Where each row begins, and at last where the text ends. */
  readonly #offsets: Uint32Array
  readonly #narSizes: Float64Array

  private constructor(text: Buffer, offsets: Uint32Array, narSizes: Float64Array, narSize: number) {
    this.#text = text
    this.#offsets = offsets
    this.#narSizes = narSizes
    this.narSize = narSize
  }

  /** Sorts on the spot: for a few thousand paths at a time. */
  static of(paths: readonly NamedPath[]): PackedNames {
    const rows = paths.map(({ storePath, narSize }) => ({ key: keyOf(storePath), narSize }))
    rows.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    const offsets = new Uint32Array(rows.length + 1)
    let length = 0
    for (const [i, { key }] of rows.entries()) {
      length += key.length
      offsets[i + 1] = length
    }
    const narSizes = Float64Array.from(rows, (row) => row.narSize)
    const text = Buffer.from(rows.map((row) => row.key).join(''), 'latin1')
    return new PackedNames(
      text,
      offsets,
      narSizes,
      narSizes.reduce((sum, size) => sum + size, 0),
    )
  }

  /** Both, sorted; gives way to others whenever the turn gets long. */
  static async merge(a: PackedNames, b: PackedNames, turn: Turn, call: Call): Promise<PackedNames> {
    const length = a.length + b.length
    const text = Buffer.allocUnsafeSlow(a.#text.length + b.#text.length)
    const offsets = new Uint32Array(length + 1)
    const narSizes = new Float64Array(length)
    let nextA = 0
    let nextB = 0
    for (let i = 0; i < length; i++) {
      const takeA = nextB === b.length || (nextA < a.length && a.#compare(nextA, b, nextB) <= 0)
      const [source, row] = takeA ? [a, nextA++] : [b, nextB++]
      const start = offsets[i]!
      offsets[i + 1] =
        start + source.#text.copy(text, start, source.#offsets[row]!, source.#offsets[row + 1]!)
      narSizes[i] = source.#narSizes[row]!
      if (turn.isLong) {
        await nextTurn()
        throwIfAborted(call.signal)
      }
    }
    return new PackedNames(text, offsets, narSizes, a.narSize + b.narSize)
  }

  get length(): number {
    return this.#narSizes.length
  }

  /** Bytes of the names. */
  get textBytes(): number {
    return this.#text.length
  }

  slice(start: number, end: number): NamedPath[] {
    const paths: NamedPath[] = []
    for (let row = Math.max(0, start); row < Math.min(end, this.length); row++) paths.push(this.#row(row))
    return paths
  }

  /**
   * The rows from `start` to `end` of those that contain every one of `words` in their name, or begin with it in their
   * hash, whatever the case. Looks at all rows, since the total is wanted.
   */
  async search(
    words: readonly string[],
    { start, end }: { readonly start: number; readonly end: number },
    turn: Turn,
    call?: Call,
  ): Promise<Found> {
    const wanted = words.map((word) => word.toLowerCase())
    const paths: NamedPath[] = []
    let total = 0
    for (let block = 0; block < this.length; block += SEARCH_ROWS) {
      throwIfAborted(call?.signal)
      for (const row of this.#searchBlock(block, Math.min(block + SEARCH_ROWS, this.length), wanted)) {
        if (total >= start && total < end) paths.push(this.#row(row))
        total++
      }
      if (turn.isLong) await nextTurn()
    }
    return { total, paths }
  }

  /** Looks for the first word in all rows at once, and for the others where it is. */
  *#searchBlock(first: number, end: number, [word, ...others]: readonly string[]): Generator<number> {
    if (word === undefined) return
    const base = this.#offsets[first]!
    const text = this.#text.toString('latin1', base, this.#offsets[end]!).toLowerCase()
    let row = first
    for (let hit = text.indexOf(word); hit >= 0; ) {
      while (this.#offsets[row + 1]! <= base + hit) row++
      const start = this.#offsets[row]! - base
      const next = this.#offsets[row + 1]! - base
      const found = text.slice(start, next)
      const matches = matchesName(found, word) && others.every((other) => matchesName(found, other))
      if (matches) yield row
      hit = text.indexOf(word, next)
    }
  }

  #row(row: number): NamedPath {
    const text = this.#text.toString('latin1', this.#offsets[row]!, this.#offsets[row + 1]!)
    const space = text.length - HASH_CHARACTERS - 1
    const storePath = StorePath.parse(`${text.slice(space + 1)}-${text.slice(0, space)}`)
    return { storePath, narSize: this.#narSizes[row]! }
  }

  #compare(row: number, other: PackedNames, otherRow: number): number {
    return this.#text.compare(
      other.#text,
      other.#offsets[otherRow]!,
      other.#offsets[otherRow + 1]!,
      this.#offsets[row]!,
      this.#offsets[row + 1]!,
    )
  }
}

function keyOf(storePath: StorePath): string {
  const basename = storePath.toString()
  return `${storePath.name} ${basename.slice(0, HASH_CHARACTERS)}`
}

/** In the name, or where the hash begins: inside of a hash every short word is found somewhere. */
function matchesName(row: string, word: string): boolean {
  const space = row.length - HASH_CHARACTERS - 1
  const at = row.indexOf(word)
  return (at >= 0 && at + word.length <= space) || row.startsWith(word, space + 1)
}
