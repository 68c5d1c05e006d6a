import { LRUCache } from 'lru-cache'
import { utf8 } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { LIBFUSE_PATHS_MAX, NAME_BYTES_MAX } from '../../support/limits.ts'
import { type InodeNumber, type Tree, TreeFault } from '../tree/interface.ts'
import { Refusal } from './errno.ts'
import { ROOT_NODE } from './protocol.ts'

/** The inodes behind paths, for a kernel interface that names everything by its path. Keeps those used last. */
export class LibfusePaths {
  readonly #tree: Tree
  /** Each holds a reference. */
  readonly #inodes: LRUCache<string, InodeNumber>

  constructor(tree: Tree) {
    this.#tree = tree
    this.#inodes = new LRUCache({
      max: LIBFUSE_PATHS_MAX,
      dispose: (inode) => tree.forget(inode, 1),
    })
  }

  /** Throws TreeFault `ENOENT` or `ENOTDIR`. */
  async find(path: string, call: Call): Promise<InodeNumber> {
    if (path === '/') return ROOT_NODE
    const known = this.#inodes.get(path)
    if (known !== undefined) return known
    const slash = path.lastIndexOf('/')
    const name = utf8(path.slice(slash + 1))
    if (name.length > NAME_BYTES_MAX) throw new Refusal('ENAMETOOLONG')
    const parent = await this.find(slash === 0 ? '/' : path.slice(0, slash), call)
    const found = await this.#tree.lookup(parent, name, call)
    if ('missing' in found) throw new TreeFault('ENOENT')
    this.#keep(path, found.inode)
    return found.inode
  }

  /** Somebody else may have found the same meanwhile: the reference that is too many goes back. */
  #keep(path: string, inode: InodeNumber): void {
    if (this.#inodes.peek(path) === inode) this.#tree.forget(inode, 1)
    else this.#inodes.set(path, inode)
  }
}
