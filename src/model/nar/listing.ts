import { compareBytes, printable, utf8 } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { type PathComponent, pathComponentFault } from '../castore/path-component.ts'
import type { SymlinkTarget } from '../castore/symlink-target.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { NarEvent } from './event.ts'

/** What a NAR contains and where, without the contents (spec §6.10). */
export type ListingNode = ListingFile | ListingSymlink | ListingDirectory

export interface ListingFile {
  readonly type: 'regular'
  readonly executable: boolean
  /** Bytes. */
  readonly size: number
  /** Where the contents begin in the NAR, in bytes. */
  readonly narOffset: number
}

export interface ListingSymlink {
  readonly type: 'symlink'
  readonly target: SymlinkTarget
}

export interface ListingDirectory {
  readonly type: 'directory'
  /** In byte order of the names. */
  readonly entries: readonly ListingEntry[]
}

export interface ListingEntry {
  readonly name: PathComponent
  readonly node: ListingNode
}

/**
 * The node at a relative path, the root for an empty one; `undefined` when there is none. Throws
 * ValidationError `InvalidPath` for an absolute path, and for one with an empty, `.` or `..` component.
 */
export function locate(root: ListingNode, path: string): ListingNode | undefined {
  let node: ListingNode | undefined = root
  for (const component of path === '' ? [] : path.split('/')) {
    const name = utf8(component)
    const fault = pathComponentFault(name)
    if (fault)
      throw new ValidationError(
        'InvalidPath',
        `"${printable(utf8(path))}": a component of a relative path ${fault.message}`,
      )
    node = node?.type === 'directory' ? entryOf(node, name) : undefined
  }
  return node
}

function entryOf(directory: ListingDirectory, name: Uint8Array): ListingNode | undefined {
  let low = 0
  let high = directory.entries.length - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const entry = directory.entries[middle]!
    const order = compareBytes(entry.name, name)
    if (order === 0) return entry.node
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return undefined
}

interface OpenDirectory {
  readonly entries: ListingEntry[]
  name: PathComponent | undefined
}

/** Makes a listing from the events of a NAR, be it parsed or written. */
export class ListingBuilder {
  readonly #open: OpenDirectory[] = []
  #root: ListingNode | undefined

  /** `offset`: for a `file` event, where its contents begin in the NAR, in bytes. */
  add(event: NarEvent, offset: number): void {
    switch (event.type) {
      case 'directory':
        this.#open.push({ entries: [], name: undefined })
        break
      case 'entry':
        this.#open.at(-1)!.name = event.name
        break
      case 'end-directory':
        this.#place({ type: 'directory', entries: this.#open.pop()!.entries })
        break
      case 'symlink':
        this.#place({ type: 'symlink', target: event.target })
        break
      case 'file':
        this.#place({ type: 'regular', executable: event.executable, size: event.size, narOffset: offset })
    }
  }

  /** The root, after the last event. Throws StoreError `internal` when the archive was not complete. */
  finish(): ListingNode {
    if (!this.#root) throw new StoreError('internal', 'NAR listing: the archive is not complete')
    return this.#root
  }

  #place(node: ListingNode): void {
    const parent = this.#open.at(-1)
    if (parent) parent.entries.push({ name: parent.name!, node })
    else this.#root = node
  }
}
