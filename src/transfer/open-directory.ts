import type { Entry, Node } from '../model/castore/node.ts'
import type { PathComponent } from '../model/castore/path-component.ts'
import { concatBytes, utf8 } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'

const SLASH = utf8('/')

/** A directory that a walk is in, or that waits for the nodes of its entries; and what holds the root alone, which has no name. */
export class OpenDirectory {
  readonly path: Uint8Array
  /** Which waits for it, and its place there. None: it holds the root. */
  readonly parent: { readonly folder: OpenDirectory; readonly place: number } | undefined
  readonly #names: PathComponent[] = []
  readonly #nodes: (Node | undefined)[] = []
  /** The walk is one of them. */
  #awaited = 1

  constructor(path: Uint8Array, parent: OpenDirectory['parent']) {
    this.path = path
    this.parent = parent
    parent?.folder.expect()
  }

  pathOf(name: Uint8Array): Uint8Array {
    return this.parent ? concatBytes([this.path, SLASH, name]) : this.path
  }

  /** The entry's place. */
  add(name: PathComponent): number {
    return this.#names.push(name) - 1
  }

  set(place: number, node: Node): void {
    this.#nodes[place] = node
  }

  /** There is one more to wait for. */
  expect(): void {
    this.#awaited++
  }

  /** One that it waited for is there; true when that was the last one. */
  settle(): boolean {
    this.#awaited--
    return this.#awaited === 0
  }

  get entries(): Entry[] {
    return this.#names.map((name, place) => {
      const node = this.#nodes[place]
      if (!node) throw new StoreError('internal', 'a directory is complete without one of its entries')
      return { name, node }
    })
  }
}
