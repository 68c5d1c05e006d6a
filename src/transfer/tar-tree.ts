import type { Node } from '../model/castore/node.ts'
import type { PathComponent } from '../model/castore/path-component.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import type { TarPath } from '../model/tar/event.ts'
import { concatBytes, printable, utf8, view } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { TAR_ENTRIES_BYTES_MAX, TAR_ENTRY_BYTES } from '../support/limits.ts'
import type { NarDirectories } from './nar-directories.ts'

/** Of a directory. Names are told as strings of one character a byte. */
type Folder = Map<string, Item>
type Item = Folder | Node | Promise<Node>

/** The tree that the entries of a tar make, in whatever order they come: later ones replace earlier ones (spec §8.3). */
export class TarTree {
  readonly #top: Folder = new Map()
  #bytes = 0

  /** Something else than a directory. The top of the archive is none of its entries. */
  place(path: TarPath, node: Node | Promise<Node>): void {
    const name = path.at(-1)
    if (!name)
      throw new ValidationError('InvalidPath', 'tar: an entry that is no directory has an empty path')
    // Its failure is told by the uploads.
    if (node instanceof Promise) node.catch(() => {})
    this.#set(this.#folder(path.slice(0, -1)), name, node)
  }

  /** … which keeps what is in it already. */
  placeDirectory(path: TarPath): void {
    this.#folder(path)
  }

  /** Once more what came before at `target`. Throws ValidationError unless that is a file or symlink. */
  placeLink(path: TarPath, target: TarPath): void {
    const found = this.#find(target)
    const why = found ? 'which is a directory' : 'which does not come before it'
    if (found && !(found instanceof Map)) this.place(path, found)
    else
      throw new ValidationError(
        'InvalidLink',
        `unsupported tar entry "${printPath(path)}" type: hard link to "${printPath(target)}", ${why}`,
      )
  }

  /** The one entry at the top, whose contents are the tree. Throws ValidationError unless it is one directory. */
  get root(): Folder {
    const [root] = this.#top.values()
    if (this.#top.size === 1 && root instanceof Map) return root
    const found = this.#top.size === 1 ? 'the only one is no directory' : `there are ${this.#top.size}`
    throw new ValidationError(
      'TopLevelEntries',
      `unexpected number of top level directory entries: ${found}; pack one directory, as \`tar -c DIR\` does`,
    )
  }

  /** The folder at this path, with all above it, in the place of anything else that is there. */
  #folder(path: TarPath): Folder {
    let folder = this.#top
    for (const name of path) {
      const found = folder.get(keyOf(name))
      const next: Folder = found instanceof Map ? found : new Map()
      if (next !== found) this.#set(folder, name, next)
      folder = next
    }
    return folder
  }

  #find(path: TarPath): Item | undefined {
    let item: Item | undefined = this.#top
    for (const name of path) item = item instanceof Map ? item.get(keyOf(name)) : undefined
    return item
  }

  #set(folder: Folder, name: PathComponent, item: Item): void {
    const targetBytes = 'target' in item ? item.target.length : 0
    this.#bytes += TAR_ENTRY_BYTES + name.length + targetBytes
    if (this.#bytes > TAR_ENTRIES_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `tar: its entries take more than ${TAR_ENTRIES_BYTES_MAX} bytes of memory`,
      )
    folder.set(keyOf(name), item)
  }
}

/** Puts everything below a folder, leaves first; every file in it has to be stored by then. */
export async function putFolder(folder: Folder, directories: NarDirectories): Promise<void> {
  directories.begin()
  for (const [key, item] of folder) {
    directories.enter(Buffer.from(key, 'latin1') as Uint8Array as PathComponent)
    if (item instanceof Map) await putFolder(item, directories)
    else directories.place(item instanceof Promise ? await item : item)
  }
  await directories.end()
}

function keyOf(name: PathComponent): string {
  return view(name).toString('latin1')
}

function printPath(path: TarPath): string {
  return printable(concatBytes(path.flatMap((name, i) => (i === 0 ? [name] : [utf8('/'), name]))))
}
