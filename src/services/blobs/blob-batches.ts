import type { Digest } from '../../model/castore/digest.ts'
import { type Call, onAbort, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import {
  OBJECT_BATCH_BYTES_MAX,
  OBJECT_BATCH_MAX,
  OBJECT_BATCHES_MAX,
  OBJECT_LARGE_BATCHES_MAX,
} from '../../support/limits.ts'
import type { NewObject, PutMany, PutManyCall } from '../objects/interface.ts'
import { blobKey, chunkKey } from './object-keys.ts'

interface Caller {
  readonly resolve: () => void
  readonly reject: (error: StoreError) => void
}

/** A blob that is one chunk gets a chunk list, an empty one, when its chunk is stored. */
type Kind = 'chunk' | 'blob' | 'list'

/** A chunk, a blob that is one, or the list of a blob whose chunks are stored; until it is stored itself. */
interface Item {
  readonly key: string
  readonly kind: Kind
  readonly digest: Digest
  readonly contents: Uint8Array
  readonly callers: Set<Caller>
  /** Since it is on its way. */
  batch: Batch | undefined
}

/** Items on their way together; given up when nobody waits for any of them any more. */
interface Batch {
  readonly controller: AbortController
  wanted: number
}

const NO_BYTES = new Uint8Array(0)

/**
 * Stores chunks, blobs of one chunk, and the lists of others in batches: what comes while batches are on their way forms the next one. So
 * they grow with what there is to do, and nobody waits for company.
 */
export class BlobBatches {
  readonly #putMany: PutMany
  readonly #showsTogether: boolean
  /** Waiting or on their way. */
  readonly #items = new Map<string, Item>()
  #waiting: Item[] = []
  #waitingBytes = 0
  #running = 0
  #isDue = false

  /** `showsTogether`: as of the store that it is of. */
  constructor(putMany: PutMany, showsTogether = false) {
    this.#putMany = putMany
    this.#showsTogether = showsTogether
  }

  /**
   * `contents`: the bytes with that digest, which nobody changes any more, not even after an abort: they may be on their way
   * for another writer of the same blob.
   */
  storeBlob(digest: Digest, contents: Uint8Array, call?: Call): Promise<void> {
    return this.#store('blob', digest, contents, call)
  }

  storeChunk(digest: Digest, contents: Uint8Array, call?: Call): Promise<void> {
    return this.#store('chunk', digest, contents, call)
  }

  /** Of a blob all of whose chunks are stored. */
  storeList(digest: Digest, list: Uint8Array, call?: Call): Promise<void> {
    return this.#store('list', digest, list, call)
  }

  async #store(kind: Kind, digest: Digest, contents: Uint8Array, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    const key = `${kind} ${digest.key}`
    const item = this.#items.get(key) ?? this.#enqueue(key, kind, digest, contents)
    let stay: (() => void) | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        const caller = { resolve, reject }
        item.callers.add(caller)
        const signal = call?.signal
        stay = signal && onAbort(signal, () => this.#leave(item, caller, StoreError.from(signal.reason)))
      })
    } finally {
      stay?.()
    }
  }

  #enqueue(key: string, kind: Kind, digest: Digest, contents: Uint8Array): Item {
    const item = { key, kind, digest, contents, callers: new Set<Caller>(), batch: undefined }
    this.#items.set(key, item)
    this.#waiting.push(item)
    this.#waitingBytes += contents.length
    this.#startSoon()
    return item
  }

  #leave(item: Item, caller: Caller, reason: StoreError): void {
    caller.reject(reason)
    item.callers.delete(caller)
    if (item.callers.size > 0) return
    // Whoever wants it from now on must not be told that it was given up.
    if (this.#items.get(item.key) === item) this.#items.delete(item.key)
    unwanted(item, reason)
  }

  #settle(item: Item, error?: StoreError): void {
    if (this.#items.get(item.key) === item) this.#items.delete(item.key)
    if (item.callers.size === 0) return
    for (const { resolve, reject } of item.callers) error ? reject(error) : resolve()
    item.callers.clear()
    unwanted(item, SETTLED)
  }

  /** When all that is ready in this turn of the event loop has come. */
  #startSoon(): void {
    if (this.#isDue || this.#waiting.length === 0 || this.#running === OBJECT_LARGE_BATCHES_MAX) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      while (this.#isTimeForMore) void this.#run(this.#next())
    })
  }

  /** A batch that is not full begins only when none is on its way: small ones cost as many syncs as large ones. */
  get #isTimeForMore(): boolean {
    if (this.#running === 0) return this.#waiting.length > 0
    if (this.#waitingBytes >= OBJECT_BATCH_BYTES_MAX) return this.#running < OBJECT_LARGE_BATCHES_MAX
    return this.#waiting.length >= OBJECT_BATCH_MAX && this.#running < OBJECT_BATCHES_MAX
  }

  #next(): Item[] {
    let count = 0
    let bytes = 0
    while (count < Math.min(this.#waiting.length, OBJECT_BATCH_MAX) && bytes < OBJECT_BATCH_BYTES_MAX)
      bytes += this.#waiting[count++]!.contents.length
    const items = this.#waiting.slice(0, count)
    this.#waiting = this.#waiting.slice(count)
    this.#waitingBytes -= bytes
    // Some may have been given up while they waited.
    return items.filter(({ callers }) => callers.size > 0)
  }

  async #run(items: readonly Item[]): Promise<void> {
    if (items.length === 0) return
    this.#running++
    const batch: Batch = { controller: new AbortController(), wanted: items.length }
    for (const item of items) item.batch = batch
    const call = { signal: batch.controller.signal }
    await Promise.all([
      this.#storeLists(
        items.filter(({ kind }) => kind === 'list'),
        call,
      ),
      this.#storeContents(
        items.filter(({ kind }) => kind !== 'list'),
        call,
      ),
    ])
    this.#running--
    this.#startSoon()
  }

  async #storeLists(items: readonly Item[], call: Call): Promise<void> {
    const lost = await this.#put(items, (item) => [listOf(item)], call)
    for (const item of items) if (!lost.has(item)) this.#settle(item)
  }

  async #storeContents(items: readonly Item[], call: Call): Promise<void> {
    const isWithList = (item: Item) => item.kind === 'blob' && this.#showsTogether
    const objectsOf = (item: Item) => [
      ...(item.contents.length > 0 ? [chunkOf(item)] : []),
      ...(isWithList(item) ? [listOf(item)] : []),
    ]
    const lost = await this.#put(items, objectsOf, { ...call, zstd: true })
    const blobs: Item[] = []
    for (const item of items) {
      if (lost.has(item)) continue
      if (item.kind === 'chunk' || isWithList(item)) this.#settle(item)
      else blobs.push(item)
    }
    // The list says that the blob is complete, so it comes last.
    await this.#storeLists(blobs, call)
  }

  /** Never throws: tells the callers of those that could not be stored, and which these are. */
  async #put(
    items: readonly Item[],
    objectsOf: (item: Item) => NewObject[],
    call: PutManyCall,
  ): Promise<ReadonlySet<Item>> {
    const lost = new Set<Item>()
    const objects: NewObject[] = []
    const owners: Item[] = []
    for (const item of items)
      for (const object of objectsOf(item)) {
        objects.push(object)
        owners.push(item)
      }
    if (objects.length === 0) return lost
    const errors = await this.#putMany(objects, call).catch((error) =>
      objects.map(() => StoreError.from(error)),
    )
    for (const [i, item] of owners.entries()) {
      if (!errors[i] || lost.has(item)) continue
      lost.add(item)
      this.#settle(item, errors[i])
    }
    return lost
  }
}

const SETTLED = new StoreError('cancelled', 'nobody waits for the rest of the batch')

/** Nobody waits for the item any more; what is left of its batch ends with the last of them. */
function unwanted({ batch }: Item, reason: StoreError): void {
  if (batch && --batch.wanted === 0) batch.controller.abort(reason)
}

function chunkOf({ digest, contents }: Item): NewObject {
  return { key: chunkKey(digest), body: contents }
}

function listOf({ kind, digest, contents }: Item): NewObject {
  return { key: blobKey(digest), body: kind === 'list' ? contents : NO_BYTES }
}
