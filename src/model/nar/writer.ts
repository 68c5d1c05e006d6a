/**
 * Writes a NAR from events. Framing is gathered into one buffer, and contents go out as they come in, so that a
 * large tree costs few pieces and a large file no copy.
 */
import { compareBytes, printable } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { NAR_FRAMING_BUFFER_BYTES, NAR_INLINE_CONTENTS_BYTES_MAX } from '../../support/limits.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { NarEvent } from './event.ts'
import {
  ARCHIVE,
  CLOSE,
  CLOSE_ENTRY,
  ENTRY,
  ENTRY_NODE,
  LENGTH_BYTES,
  NODE_DIRECTORY,
  NODE_EXECUTABLE,
  NODE_FILE,
  NODE_SYMLINK,
  paddingOf,
} from './token.ts'

/** What the next event has to be: a node, an entry or the end of a directory, contents or the end of a file. */
type State = 'node' | 'directory' | 'contents' | 'done'

const STATE_BEFORE: Readonly<Record<NarEvent['type'], State>> = {
  directory: 'node',
  symlink: 'node',
  file: 'node',
  entry: 'directory',
  'end-directory': 'directory',
  contents: 'contents',
  'end-file': 'contents',
}

const NO_BYTES = new Uint8Array(0)

export class NarWriter {
  #state: State = 'node'
  /** The last name written in each open directory. */
  readonly #open: Uint8Array[] = []
  #fileSize = 0
  #missing = 0
  #bytesWritten = 0
  #pieces: Uint8Array[] = []
  #pendingBytes = 0
  #buffer: Buffer = Buffer.allocUnsafeSlow(NAR_FRAMING_BUFFER_BYTES)
  /** The part of the buffer that is filled and not yet among the pieces. */
  #start = 0
  #end = 0

  constructor() {
    this.#append(ARCHIVE)
  }

  /** Size of the archive so far, taken or not. After a `file` event that is where its contents begin. */
  get bytesWritten(): number {
    return this.#bytesWritten
  }

  /** Bytes that `take` would give. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  /**
   * Writes one event. Contents of more than NAR_INLINE_CONTENTS_BYTES_MAX bytes are not copied: leave them be
   * until they were taken and used. Throws ValidationError `WrongSorting` for a name that does not come after
   * the one before it, `InvalidInput` for more contents than the file's size, `UnexpectedEof` for less, and
   * StoreError `internal` for an event that cannot come here.
   */
  write(event: NarEvent): void {
    if (this.#state !== STATE_BEFORE[event.type])
      throw new StoreError('internal', `NAR writer: ${event.type} cannot come in state ${this.#state}`)
    switch (event.type) {
      case 'directory':
        this.#directory()
        break
      case 'entry':
        this.#entry(event.name)
        break
      case 'end-directory':
        this.#open.pop()
        this.#closeNode()
        break
      case 'symlink':
        this.#append(NODE_SYMLINK)
        this.#string(event.target)
        this.#closeNode()
        break
      case 'file':
        this.#file(event.executable, event.size)
        break
      case 'contents':
        this.#contents(event.bytes)
        break
      case 'end-file':
        this.#endFile()
    }
  }

  /** Counts contents as written that the caller puts behind the pieces taken so far by other means. */
  skipContents(length: number): void {
    if (this.#state !== 'contents') throw new StoreError('internal', 'NAR writer: no file is open')
    this.#expectContents(length)
    this.#bytesWritten += length
  }

  /** Continues in another buffer, which is the writer's until `take` has given what is in it. */
  beginBuffer(buffer: Buffer): void {
    this.#flush()
    this.#buffer = buffer
    this.#start = 0
    this.#end = 0
  }

  /**
   * Leaves room for contents, which the caller puts there before the pieces are used. Where it begins in the buffer that
   * was begun last; StoreError `internal` when that is full.
   */
  leaveRoom(length: number): number {
    if (this.#state !== 'contents') throw new StoreError('internal', 'NAR writer: no file is open')
    if (this.#end + length > this.#buffer.length)
      throw new StoreError('internal', 'NAR writer: the buffer has no room for these contents')
    this.#expectContents(length)
    const start = this.#end
    this.#advance(length)
    return start
  }

  /** What was written since the last call, in few pieces. They are the caller's. */
  take(): Uint8Array[] {
    this.#flush()
    const pieces = this.#pieces
    this.#pieces = []
    this.#pendingBytes = 0
    return pieces
  }

  /** Call it after the last event. Throws StoreError `internal` unless the archive is complete. */
  finish(): void {
    if (this.#state !== 'done') throw new StoreError('internal', 'NAR writer: the archive is not complete')
  }

  #directory(): void {
    this.#append(NODE_DIRECTORY)
    this.#open.push(NO_BYTES)
    this.#state = 'directory'
  }

  #entry(name: Uint8Array): void {
    const previous = this.#open.at(-1)!
    if (compareBytes(previous, name) >= 0)
      throw new ValidationError(
        'WrongSorting',
        `NAR writer: "${printable(name)}" does not come after "${printable(previous)}"`,
      )
    this.#open[this.#open.length - 1] = name
    this.#append(ENTRY)
    this.#string(name)
    this.#append(ENTRY_NODE)
    this.#state = 'node'
  }

  #file(executable: boolean, size: number): void {
    if (!Number.isSafeInteger(size) || size < 0)
      throw new ValidationError('InvalidInput', `NAR writer: ${size} is not the size of a file`)
    this.#append(executable ? NODE_EXECUTABLE : NODE_FILE)
    this.#length(size)
    this.#fileSize = size
    this.#missing = size
    this.#state = 'contents'
  }

  #expectContents(length: number): void {
    if (length > this.#missing)
      throw new ValidationError(
        'InvalidInput',
        `a file has more contents than its size, ${this.#fileSize} bytes`,
      )
    this.#missing -= length
  }

  #contents(bytes: Uint8Array): void {
    this.#expectContents(bytes.length)
    if (bytes.length <= NAR_INLINE_CONTENTS_BYTES_MAX) {
      this.#append(bytes)
      return
    }
    this.#flush()
    this.#pieces.push(bytes)
    this.#count(bytes.length)
  }

  #endFile(): void {
    if (this.#missing > 0)
      throw new ValidationError(
        'UnexpectedEof',
        `a file ends ${this.#missing} bytes before its size, ${this.#fileSize} bytes`,
      )
    this.#pad(this.#fileSize)
    this.#closeNode()
  }

  /** Ends a node, and the entry that holds it if there is one. */
  #closeNode(): void {
    const isRoot = this.#open.length === 0
    this.#append(isRoot ? CLOSE : CLOSE_ENTRY)
    this.#state = isRoot ? 'done' : 'directory'
  }

  #string(bytes: Uint8Array): void {
    this.#length(bytes.length)
    this.#append(bytes)
    this.#pad(bytes.length)
  }

  #length(length: number): void {
    this.#reserve(LENGTH_BYTES)
    this.#buffer.writeUInt32LE(length % 2 ** 32, this.#end)
    this.#buffer.writeUInt32LE(Math.floor(length / 2 ** 32), this.#end + 4)
    this.#advance(LENGTH_BYTES)
  }

  #pad(length: number): void {
    const padding = paddingOf(length)
    this.#reserve(padding)
    for (let i = 0; i < padding; i++) this.#buffer[this.#end + i] = 0
    this.#advance(padding)
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#end)
    this.#advance(bytes.length)
  }

  #advance(length: number): void {
    this.#end += length
    this.#count(length)
  }

  #count(length: number): void {
    this.#pendingBytes += length
    this.#bytesWritten += length
  }

  /** Makes room; pieces handed out keep the old buffer, which is never written again. */
  #reserve(length: number): void {
    if (this.#end + length <= this.#buffer.length) return
    this.#flush()
    this.#buffer = Buffer.allocUnsafeSlow(NAR_FRAMING_BUFFER_BYTES)
    this.#start = 0
    this.#end = 0
  }

  #flush(): void {
    if (this.#start === this.#end) return
    this.#pieces.push(this.#buffer.subarray(this.#start, this.#end))
    this.#start = this.#end
  }
}
