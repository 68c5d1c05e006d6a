import { getSystemErrorName } from 'node:util'
import { StoreError } from '../../support/errors.ts'
import { FILL_FILE_BYTES_MAX, LISTING_ANSWER_BYTES_MAX } from '../../support/limits.ts'
import type { InodeTables } from '../tree/inode-tables.ts'
import type { InodeNumber, ListedAhead, ListingPreparer, Tree } from '../tree/interface.ts'
import { PAGE } from '../tree/native-tree.ts'
import type { Owner } from './attributes.ts'
import { dataView } from './bytes.ts'
import { listedInodes, recordBytes } from './listing.ts'
import { type NativeAddon, type NativeListings, nativeAddon } from './native-addon.ts'

/** What the addon tells of an answer, behind the fields of a page; as `enum answer_field` of native/prepared_listings.c. */
const ANSWER = {
  inode: PAGE.fields,
  cookie: PAGE.fields + 1,
  isTaken: PAGE.fields + 2,
  encodedBytes: PAGE.fields + 3,
  fields: PAGE.fields + 4,
} as const

/**
 * Directories that are likely to be listed, in the hands of the addon: it answers as soon as it is asked, and JavaScript hears of
 * that while the kernel works on the answer.
 */
export class PreparedListings implements ListingPreparer {
  readonly #addon: NativeAddon = nativeAddon()
  readonly #tree: Tree
  readonly #listed: ListedAhead
  readonly #bytes = new Uint8Array(LISTING_ANSWER_BYTES_MAX)
  readonly #records = new Uint8Array(recordBytes(LISTING_ANSWER_BYTES_MAX))
  readonly #answer = new Float64Array(ANSWER.fields)
  readonly native: NativeListings

  private constructor(tree: Tree, owner: Owner) {
    this.#tree = tree
    this.#answer[PAGE.recordFileMax] = FILL_FILE_BYTES_MAX
    this.#answer[PAGE.uid] = owner.uid
    this.#answer[PAGE.gid] = owner.gid
    const native = this.#addon.createListings(this.#bytes, this.#records, this.#answer)
    if (typeof native === 'number')
      throw new StoreError('internal', `preparing listings: ${getSystemErrorName(native)}`)
    this.native = native
    this.#listed = tree.listAhead!(this)
  }

  /** `undefined` for a tree whose listings only it can answer. */
  static of(tree: Tree, owner: Owner): PreparedListings | undefined {
    return tree.listAhead ? new PreparedListings(tree, owner) : undefined
  }

  get tables(): InodeTables {
    return this.#listed.tables
  }

  /** Somebody walks where they were expected to, and what they ask for next is ready. */
  get isWalk(): boolean {
    return this.#listed.isWalk
  }

  prepare(inode: InodeNumber, encoded: Uint8Array, index: Uint32Array, isBegun: boolean): void {
    const tables = isBegun ? undefined : this.tables
    const outcome = this.#addon.prepareListing(this.native, inode, encoded, index, tables)
    if (outcome < 0) throw new StoreError('internal', `preparing a listing: ${getSystemErrorName(outcome)}`)
    this.#forget(outcome)
  }

  /** The addon has answered; `Tree.answered` is still to be called. */
  answered(): void {
    const answer = this.#answer
    if (answer[ANSWER.isTaken] === 0) {
      this.#forget(answer[PAGE.used]!)
      return
    }
    this.#listed.answered({
      inode: answer[ANSWER.inode]!,
      cookie: answer[ANSWER.cookie]!,
      encodedBytes: answer[ANSWER.encodedBytes]!,
      records: this.#records.subarray(0, answer[PAGE.recordsUsed]),
      contents: answer[PAGE.recordsContents]!,
    })
  }

  /** So many bytes of entries, whose references the kernel never got to see. */
  #forget(bytes: number): void {
    if (bytes === 0) return
    for (const inode of listedInodes(dataView(this.#bytes), 0, bytes)) this.#tree.forget(inode, 1)
  }
}
