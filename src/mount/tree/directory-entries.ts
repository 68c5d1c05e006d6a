import type { Entry } from '../../model/castore/node.ts'
import { pathComponentFault } from '../../model/castore/path-component.ts'
import type { Call } from '../../support/call.ts'
import type { AccessRecorder } from './access-recorder.ts'
import type { DirectoryLoader } from './directory-loader.ts'
import type { FillAhead } from './fill-ahead.ts'
import type { InodePaths } from './inode-paths.ts'
import { type InodeTable, ROOT_INODE } from './inode-table.ts'
import {
  type EntrySink,
  type InodeNumber,
  type ListedAhead,
  type ListingPreparer,
  type Missing,
  type PackedEntries,
  type Soon,
  type TreeEntry,
  TreeFault,
} from './interface.ts'
import type { KeptDirectory } from './kept-directory.ts'
import { type NativeTree, nativeTree } from './native-tree.ts'
import { type ListedDirectory, offerEntry } from './offer-entry.ts'
import { MISSING_FOREVER } from './root-directory.ts'
import { whenReady } from './soon.ts'
import type { SubtreeAhead } from './subtree-ahead.ts'
import { WalkAhead } from './walk-ahead.ts'

export interface DirectoryEntriesOptions {
  readonly inodes: InodeTable
  readonly paths: InodePaths
  readonly directories: DirectoryLoader
  readonly subtrees: SubtreeAhead
  /** Hears of the small files that are listed. */
  readonly fillAhead: () => FillAhead
  readonly recorder: AccessRecorder | undefined
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number
}

/** Finds and lists names below store paths: in the addon where it is built, and as it does in JavaScript elsewhere. */
export class DirectoryEntries {
  readonly #options: DirectoryEntriesOptions
  readonly #inodes: InodeTable
  #walk: WalkAhead | undefined

  constructor(options: DirectoryEntriesOptions) {
    this.#options = options
    this.#inodes = options.inodes
  }

  lookup(parent: InodeNumber, name: Uint8Array, call: Call | undefined): Soon<TreeEntry | Missing> {
    this.#expectDirectory(parent)
    if (pathComponentFault(name)) return MISSING_FOREVER
    return whenReady(this.#load(parent, call), (directory) => this.#find(parent, directory, name))
  }

  readdir(
    inode: InodeNumber,
    cookie: number,
    sink: EntrySink,
    remember: boolean,
    call: Call | undefined,
  ): Soon<void> {
    this.#expectDirectory(inode)
    return whenReady(this.#load(inode, call), (directory) => {
      const packed = remember && sink.addPacked ? this.#packed(inode, directory) : undefined
      if (packed) sink.addPacked!(packed, cookie)
      else this.#offerEntries(sink, inode, directory.directory.entries, cookie, remember)
      if (!remember) return
      this.#options.fillAhead().endPage(inode, cookie === 0)
      if (cookie === 0) this.#walk?.listed(inode)
    })
  }

  /** As Tree.listAhead. While accesses are recorded nothing is prepared: it would be missing. */
  listAhead(preparer: ListingPreparer): ListedAhead {
    const { inodes, directories, fillAhead, recorder } = this.#options
    const walk = recorder ? undefined : new WalkAhead(inodes, directories, preparer)
    this.#walk = walk
    return {
      get tables() {
        return inodes.tables
      },
      get isWalk() {
        return walk?.isPrepared ?? false
      },
      answered: ({ inode, cookie, encodedBytes, records, contents }) => {
        directories.countUse(encodedBytes)
        fillAhead().addRecords(records, contents)
        fillAhead().endPage(inode, cookie === 0)
        if (cookie === 0) walk?.listed(inode)
      },
    }
  }

  /** As Tree.answered. */
  answered(): boolean {
    return this.#walk?.prepare() ?? false
  }

  #find(parent: InodeNumber, kept: KeptDirectory, name: Uint8Array): TreeEntry | Missing {
    const native = nativeTree()
    if (native && kept.index) return this.#findPacked(parent, kept, kept.index, name, native)
    const { directory } = kept
    const position = directory.indexOf(name)
    if (position < 0) return MISSING_FOREVER
    return this.#inodes.handOut(
      this.#inodes.intern(directory.entries[position]!.node, parent, position, name),
    )
  }

  #findPacked(
    parent: InodeNumber,
    { encoded }: KeptDirectory,
    index: Uint32Array,
    name: Uint8Array,
    native: NativeTree,
  ): TreeEntry | Missing {
    for (;;) {
      const inode = native.lookupEntry(this.#inodes.tables, encoded, index, parent, name)
      if (inode === undefined) throw new TreeFault('ESTALE')
      if (inode > 0) return this.#inodes.handOut(inode)
      if (inode === 0) return MISSING_FOREVER
      this.#inodes.makeRoom()
    }
  }

  #packed(parent: InodeNumber, { encoded, index }: KeptDirectory): PackedEntries | undefined {
    const native = nativeTree()
    if (!native || !index) return undefined
    const inodes = this.#inodes
    const fillAhead = this.#options.fillAhead()
    return {
      parent,
      encoded,
      index,
      native,
      get tables() {
        return inodes.tables
      },
      makeRoom: () => inodes.makeRoom(),
      listed: (records, contents) => fillAhead.addRecords(records, contents),
    }
  }

  #offerEntries(
    sink: EntrySink,
    directory: InodeNumber,
    entries: readonly Entry[],
    cookie: number,
    remember: boolean,
  ): void {
    const inodes = this.#inodes
    const parent: ListedDirectory = {
      ino: inodes.attributes(directory).ino,
      intern: (name, node, position) => inodes.intern(node, directory, position, name),
      takeBack: (inode) => void inodes.forget(inode, 0),
    }
    const fillAhead = this.#options.fillAhead()
    for (let position = cookie; position < entries.length; position++) {
      const entry = entries[position]!
      const inode = offerEntry(inodes, sink, parent, entry, position, remember)
      if (inode === undefined) return
      if (remember && entry.node.kind === 'file') fillAhead.add(inode, entry.node)
    }
  }

  #load(inode: InodeNumber, call: Call | undefined): Soon<KeptDirectory> {
    const { recorder, paths, directories, now } = this.#options
    recorder?.listed(inode, () => paths.pathOf(inode))
    const began = now()
    const directory = directories.get(this.#inodes.digest(inode), call)
    if (!(directory instanceof Promise)) return directory
    return paths.locate(
      inode,
      directory.then((fetched) => this.#noteFetch(inode, began, fetched)),
    )
  }

  #noteFetch(inode: InodeNumber, began: number, fetched: KeptDirectory): KeptDirectory {
    const { subtrees, now } = this.#options
    const parent = this.#inodes.isAlive(inode) ? this.#inodes.parent(inode) : ROOT_INODE
    const took = now() - began
    if (parent === ROOT_INODE) subtrees.fetchedTop(fetched.digest, took)
    else if (this.#inodes.isAlive(parent)) subtrees.fetched(this.#inodes.digest(parent), took)
    return fetched
  }

  #expectDirectory(inode: InodeNumber): void {
    if (this.#inodes.attributes(inode).kind !== 'directory') throw new TreeFault('ENOTDIR')
  }
}
