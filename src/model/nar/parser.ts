/**
 * Reads a NAR that arrives in pieces of any size. The states, and what leads out of them:
 *
 *     magic → node
 *     node → directory | file-size | target-length
 *     directory → entry: name-length → name → entry-node → node
 *               → close: after-node
 *     file-size → contents → file-close → after-node
 *     target-length → target → symlink-close → after-node
 *     after-node → at the root: done;  else entry-close → directory
 *
 * Every state knows how many bytes it needs before it decides, at most a symlink target; only file contents are
 * handed on as they come. The nesting is a list, not recursion.
 */
import { compareBytes, equalBytes, printable } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import {
  NAME_BYTES_MAX,
  NAR_DEPTH_MAX,
  NAR_DIRECTORY_ENTRIES_MAX,
  SYMLINK_TARGET_BYTES_MAX,
} from '../../support/limits.ts'
import { type PathComponent, pathComponentFault } from '../castore/path-component.ts'
import { type SymlinkTarget, symlinkTargetFault } from '../castore/symlink-target.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { NarEvent } from './event.ts'
import {
  ARCHIVE,
  CLOSE,
  ENTRY,
  ENTRY_NODE,
  LENGTH_BYTES,
  NODE_DIRECTORY,
  NODE_EXECUTABLE,
  NODE_FILE,
  NODE_SYMLINK,
  paddingOf,
} from './token.ts'

type State =
  | 'magic'
  | 'node'
  | 'directory'
  | 'name-length'
  | 'name'
  | 'entry-node'
  | 'entry-close'
  | 'file-size'
  | 'contents'
  | 'file-close'
  | 'target-length'
  | 'target'
  | 'symlink-close'
  | 'done'
  | 'failed'

interface OpenDirectory {
  entries: number
  previous: Uint8Array
}

/** The patterns of which one comes next. They differ within the length of the shortest. */
interface Choice {
  readonly patterns: readonly Uint8Array[]
  readonly shortest: number
  readonly expected: string
}

const MAGIC = choice('the beginning of a NAR', ARCHIVE)
const NODE = choice(
  'a directory, symlink or regular file',
  NODE_DIRECTORY,
  NODE_SYMLINK,
  NODE_FILE,
  NODE_EXECUTABLE,
)
const ENTRY_OR_CLOSE = choice('an entry or the end of the directory', ENTRY, CLOSE)
const NODE_OF_ENTRY = choice('the node of the entry', ENTRY_NODE)
const END = choice('")"', CLOSE)

const SCRATCH_BYTES = SYMLINK_TARGET_BYTES_MAX + paddingOf(SYMLINK_TARGET_BYTES_MAX)
const NO_BYTES = new Uint8Array(0)
/** The high half of 2^53, the first size that a JavaScript number does not hold. */
const HIGH_WORD_END = 0x20_0000

export class NarParser {
  #state: State = 'magic'
  #piece: Uint8Array = NO_BYTES
  #position = 0
  /** What came of a token that goes on in the next piece. */
  readonly #scratch = new Uint8Array(SCRATCH_BYTES)
  #scratched = 0
  #chosen: Uint8Array | undefined
  /** Of the name, target or contents that come next; for contents, what is missing. */
  #length = 0
  #filePadding = 0
  #executable = false
  readonly #open: OpenDirectory[] = []
  #consumed = 0
  #unconsumed = 0

  /** Bytes of the archive read so far. At a `file` event that is where its contents begin. */
  get consumed(): number {
    return this.#consumed
  }

  /** Bytes that followed the end of the archive. They are not looked at (spec §6.1). */
  get unconsumed(): number {
    return this.#unconsumed
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  /**
   * Takes the next piece of the archive and gives what it completes; run it to its end before the next piece
   * is pushed. `contents` are views of the piece, names and targets are copies. Throws ValidationError
   * `InvalidData`; afterwards, and after a loop that was left, the parser refuses to go on.
   */
  *push(piece: Uint8Array): Generator<NarEvent, void, undefined> {
    if (this.#position < this.#piece.length || this.#state === 'failed')
      throw new StoreError('internal', 'NAR parser: it failed, or its last piece was not read to the end')
    this.#piece = piece
    this.#position = 0
    for (let event = this.#next(); event; event = this.#next()) yield event
    if (this.#state === 'done') {
      this.#unconsumed += piece.length - this.#position
      this.#position = piece.length
    }
  }

  /** Call it after the last piece. Throws ValidationError `UnexpectedEof` unless the archive is complete. */
  finish(): void {
    if (this.#state === 'done') return
    throw new ValidationError('UnexpectedEof', `NAR ends early, after ${this.#consumed} bytes`)
  }

  /** The next event, or `undefined` when the piece is used up or the archive has ended. */
  #next(): NarEvent | undefined {
    try {
      for (;;) {
        const result = this.#step()
        if (result !== 'go-on') return result
      }
    } catch (error) {
      this.#state = 'failed'
      throw error
    }
  }

  /** One state's work: an event, `go-on` without one, or `undefined` for want of bytes. */
  #step(): NarEvent | 'go-on' | undefined {
    switch (this.#state) {
      case 'magic':
        return this.#expect(MAGIC, 'node')
      case 'node':
        return this.#node()
      case 'directory':
        return this.#directory()
      case 'name-length':
        return this.#readLength(NAME_BYTES_MAX, 'name', 'name')
      case 'name':
        return this.#name()
      case 'entry-node':
        return this.#expect(NODE_OF_ENTRY, 'node')
      case 'entry-close':
        return this.#expect(END, 'directory')
      case 'file-size':
        return this.#fileSize()
      case 'contents':
        return this.#contents()
      case 'file-close':
        return this.#fileClose()
      case 'target-length':
        return this.#readLength(SYMLINK_TARGET_BYTES_MAX, 'target', 'symlink target')
      case 'target':
        return this.#target()
      case 'symlink-close':
        return this.#expect(END, this.#afterNode)
      case 'done':
      case 'failed':
        return undefined
    }
  }

  get #afterNode(): State {
    return this.#open.length === 0 ? 'done' : 'entry-close'
  }

  #node(): NarEvent | 'go-on' | undefined {
    const pattern = this.#choose(NODE)
    if (!pattern) return undefined
    if (pattern === NODE_SYMLINK) {
      this.#state = 'target-length'
      return 'go-on'
    }
    if (pattern === NODE_DIRECTORY) {
      // The root is at depth 0. A consumer may well recurse, and Nix takes nothing deeper.
      if (this.#open.length > NAR_DEPTH_MAX)
        throw this.#invalid(`directories nested deeper than ${NAR_DEPTH_MAX}`)
      this.#open.push({ entries: 0, previous: NO_BYTES })
      this.#state = 'directory'
      return { type: 'directory' }
    }
    this.#executable = pattern === NODE_EXECUTABLE
    this.#state = 'file-size'
    return 'go-on'
  }

  #directory(): NarEvent | 'go-on' | undefined {
    const pattern = this.#choose(ENTRY_OR_CLOSE)
    if (!pattern) return undefined
    if (pattern === CLOSE) {
      this.#open.pop()
      this.#state = this.#afterNode
      return { type: 'end-directory' }
    }
    if (++this.#open.at(-1)!.entries > NAR_DIRECTORY_ENTRIES_MAX)
      throw this.#invalid(`more than ${NAR_DIRECTORY_ENTRIES_MAX} entries in one directory`)
    this.#state = 'name-length'
    return 'go-on'
  }

  #name(): NarEvent | undefined {
    const bytes = this.#padded(this.#length)
    if (!bytes) return undefined
    const fault = pathComponentFault(bytes)
    if (fault) throw this.#invalid(`the name "${printable(bytes)}" ${fault.message}`)
    const directory = this.#open.at(-1)!
    // Two entries that a consumer takes for one, or finds in another place than the hash says (Nix checks it too).
    if (compareBytes(directory.previous, bytes) >= 0)
      throw this.#invalid(`"${printable(bytes)}" does not come after "${printable(directory.previous)}"`)
    const name = new Uint8Array(bytes) as PathComponent
    directory.previous = name
    this.#state = 'entry-node'
    return { type: 'entry', name }
  }

  #target(): NarEvent | undefined {
    const bytes = this.#padded(this.#length)
    if (!bytes) return undefined
    const fault = symlinkTargetFault(bytes)
    if (fault) throw this.#invalid(`a symlink target ${fault.message}`)
    this.#state = 'symlink-close'
    return { type: 'symlink', target: new Uint8Array(bytes) as SymlinkTarget }
  }

  #fileSize(): NarEvent | undefined {
    const size = this.#takeLength()
    if (size === undefined) return undefined
    this.#length = size
    this.#filePadding = paddingOf(size)
    this.#state = 'contents'
    return { type: 'file', executable: this.#executable, size }
  }

  #contents(): NarEvent | 'go-on' | undefined {
    const length = Math.min(this.#length, this.#piece.length - this.#position)
    if (length === 0 && this.#length > 0) return undefined
    if (length === 0) {
      this.#state = 'file-close'
      return 'go-on'
    }
    this.#length -= length
    return { type: 'contents', bytes: this.#advance(length) }
  }

  #fileClose(): NarEvent | undefined {
    const bytes = this.#take(this.#filePadding + CLOSE.length)
    if (!bytes) return undefined
    this.#checkPadding(bytes.subarray(0, this.#filePadding))
    if (!equalBytes(bytes.subarray(this.#filePadding), CLOSE)) throw this.#unexpected(END)
    this.#state = this.#afterNode
    return { type: 'end-file' }
  }

  #readLength(max: number, then: State, what: string): 'go-on' | undefined {
    const length = this.#takeLength()
    if (length === undefined) return undefined
    if (length > max) throw this.#invalid(`a ${what} of ${length} bytes, more than ${max}`)
    this.#length = length
    this.#state = then
    return 'go-on'
  }

  #expect(only: Choice, then: State): 'go-on' | undefined {
    if (!this.#choose(only)) return undefined
    this.#state = then
    return 'go-on'
  }

  /** The one of the patterns that comes next, once all of it has come. */
  #choose(from: Choice): Uint8Array | undefined {
    if (!this.#chosen) {
      const head = this.#take(from.shortest)
      if (!head) return undefined
      this.#chosen = from.patterns.find((pattern) => equalBytes(pattern.subarray(0, from.shortest), head))
      if (!this.#chosen) throw this.#unexpected(from)
    }
    const pattern = this.#chosen
    const tail = this.#take(pattern.length - from.shortest)
    if (!tail) return undefined
    if (!equalBytes(pattern.subarray(from.shortest), tail)) throw this.#unexpected(from)
    this.#chosen = undefined
    return pattern
  }

  #takeLength(): number | undefined {
    const bytes = this.#take(LENGTH_BYTES)
    if (!bytes) return undefined
    const words = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES)
    const high = words.getUint32(4, true)
    if (high >= HIGH_WORD_END) throw this.#invalid('a length of 2^53 bytes or more')
    return high * 2 ** 32 + words.getUint32(0, true)
  }

  /** `length` bytes, after their padding was checked. */
  #padded(length: number): Uint8Array | undefined {
    const bytes = this.#take(length + paddingOf(length))
    if (!bytes) return undefined
    this.#checkPadding(bytes.subarray(length))
    return bytes.subarray(0, length)
  }

  /** The next `length` bytes in one view, which holds until more are taken; `undefined` until they have come. */
  #take(length: number): Uint8Array | undefined {
    const available = this.#piece.length - this.#position
    if (this.#scratched === 0 && available >= length) return this.#advance(length)
    const missing = length - this.#scratched
    const part = this.#advance(Math.min(missing, available))
    this.#scratch.set(part, this.#scratched)
    this.#scratched += part.length
    if (this.#scratched < length) return undefined
    this.#scratched = 0
    return this.#scratch.subarray(0, length)
  }

  #advance(length: number): Uint8Array {
    const bytes = this.#piece.subarray(this.#position, this.#position + length)
    this.#position += length
    this.#consumed += length
    return bytes
  }

  #checkPadding(padding: Uint8Array): void {
    // Else one tree would have many archives, and so many hashes.
    if (padding.some((byte) => byte !== 0)) throw this.#invalid('padding that is not zero')
  }

  #unexpected(from: Choice): ValidationError {
    return this.#invalid(`something else than ${from.expected}`)
  }

  #invalid(what: string): ValidationError {
    return new ValidationError('InvalidData', `not a valid NAR: before byte ${this.#consumed}: ${what}`)
  }
}

function choice(expected: string, ...patterns: Uint8Array[]): Choice {
  return { patterns, shortest: Math.min(...patterns.map((pattern) => pattern.length)), expected }
}
