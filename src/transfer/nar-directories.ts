import { Directory, type SizeFormula } from '../model/castore/directory.ts'
import type { Entry, Node } from '../model/castore/node.ts'
import type { PathComponent } from '../model/castore/path-component.ts'
import type { DirectoryPutter, DirectoryService } from '../services/directories/interface.ts'
import { concatBytes, printable, utf8 } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import {
  NAR_OPEN_ENTRIES_BYTES_MAX,
  NAR_OPEN_ENTRY_BYTES,
  NAR_PENDING_ENTRIES_BYTES_MAX,
} from '../support/limits.ts'

/** Of a large blob that is not stored yet, or a directory that has one below it. */
type Pending = Promise<Node>

interface OpenDirectory {
  readonly entries: { readonly name: PathComponent; readonly node: Node | Pending }[]
  /** Of the entry that is being read. */
  name: PathComponent | undefined
  bytes: number
}

export interface NarDirectoriesOptions {
  readonly signal: AbortSignal
  readonly sizeFormula: SizeFormula
}

/**
 * The directories of a NAR from their beginning to their end. What one is made of is known when it ends, but for the large
 * blobs in it; so it is made then or soon after, and put, leaves first.
 */
export class NarDirectories {
  readonly #directories: DirectoryService
  readonly #signal: AbortSignal
  readonly #sizeFormula: SizeFormula
  readonly #open: OpenDirectory[] = []
  #openBytes = 0
  #root: Node | Pending | undefined
  #putter: DirectoryPutter | undefined
  #lastPut: Promise<void> = Promise.resolve()

  constructor(directories: DirectoryService, { signal, sizeFormula }: NarDirectoriesOptions) {
    this.#directories = directories
    this.#signal = signal
    this.#sizeFormula = sizeFormula
  }

  /** How many are open. */
  get depth(): number {
    return this.#open.length
  }

  /** Where in the tree the NAR is read, for people. */
  get path(): string {
    const names = this.#open.flatMap(({ name }) => (name ? [SLASH, name] : []))
    return `"${printable(concatBytes(names)) || '/'}"`
  }

  begin(): void {
    this.#open.push({ entries: [], name: undefined, bytes: 0 })
  }

  /** An entry of this name comes next. */
  enter(name: PathComponent): void {
    this.#open.at(-1)!.name = name
  }

  /** The node of the entry, or of all. Throws `exhausted` when what is open takes too much memory. */
  place(node: Node | Promise<Node>): void {
    const placed = node instanceof Promise ? pending(node) : node
    const parent = this.#open.at(-1)
    if (!parent) {
      this.#root = placed
      return
    }
    const targetBytes = 'target' in node ? node.target.length : 0
    const bytes = NAR_OPEN_ENTRY_BYTES + parent.name!.length + targetBytes
    parent.bytes += bytes
    this.#openBytes += bytes
    if (this.#openBytes > NAR_OPEN_ENTRIES_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `NAR: the directories around ${this.path} take more than ${NAR_OPEN_ENTRIES_BYTES_MAX} bytes of memory`,
      )
    parent.entries.push({ name: parent.name!, node: placed })
  }

  /** A promise only where there is something to wait for. */
  end(): Promise<void> | undefined {
    const open = this.#open.pop()!
    if (open.entries.some(({ node }) => node instanceof Promise)) {
      const node = this.#finishPending(open)
      this.place(node)
      // What waits takes memory: little in most directories.
      return open.bytes > NAR_PENDING_ENTRIES_BYTES_MAX ? node.then(() => {}) : undefined
    }
    const directory = Directory.from(open.entries as Entry[])
    this.#openBytes -= open.bytes
    this.place(this.#nodeOf(directory))
    return this.#put(directory)
  }

  /** When every blob is stored: the root, with every directory below it. */
  async close(): Promise<Node> {
    const node = await this.#root!
    // Only now: a directory must not be there before what it refers to.
    if (this.#putter) await this.#putter.close()
    return node
  }

  async #finishPending(open: OpenDirectory): Promise<Node> {
    const entries: Entry[] = []
    for (const { name, node } of open.entries) entries.push({ name, node: await node })
    const directory = Directory.from(entries)
    this.#openBytes -= open.bytes
    await this.#put(directory)
    return this.#nodeOf(directory)
  }

  #nodeOf(directory: Directory): Node {
    return { kind: 'directory', digest: directory.digest, size: directory.size(this.#sizeFormula) }
  }

  /** One after the other: a putter is a stream. */
  #put(directory: Directory): Promise<void> {
    this.#putter ??= this.#directories.startPutter({ signal: this.#signal })
    const putter = this.#putter
    this.#lastPut = this.#lastPut.then(() => putter.put(directory))
    return this.#lastPut
  }
}

const SLASH = utf8('/')

/** Awaited later, if the ingestion gets there: its failure is told by the uploads. */
function pending(node: Promise<Node>): Pending {
  node.catch(() => {})
  return node
}
