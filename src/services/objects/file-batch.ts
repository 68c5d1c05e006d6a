import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { StoreError } from '../../support/errors.ts'
import { systemError } from '../../support/system-error.ts'
import { ZSTD_LEVEL } from '../../support/zstd.ts'
import type { DiskSync } from './disk-sync.ts'
import { fileError } from './file-error.ts'
import type { NewObject } from './interface.ts'
import { type FileBatch, type FileBatches, OUTCOME, STORING } from './native-files.ts'

/** What a batch needs of the store that it is for. */
export interface BatchStore {
  readonly root: string
  /** Below the root. */
  readonly tempFolder: string
  readonly batches: FileBatches
  readonly sync: DiskSync
  /** Stores one object by itself, if it is absent. */
  putOne(object: NewObject): Promise<void>
  /** Makes the name of an object durable, and those of folders that may not be. */
  syncEntry(key: string, isInNewFolder: boolean): Promise<void>
}

/** What goes wrong, by key. */
export type Failures = Map<string, StoreError>

/**
 * Stores objects that are absent, in the order of a single put: all contents, synced, all names, synced. Where syncfs(2)
 * is not to be used, contents are synced one by one as they are written, and names afterwards.
 */
export async function storeBatch(
  store: BatchStore,
  objects: readonly NewObject[],
  zstd: boolean,
): Promise<Failures> {
  return await new Batch(store, objects, zstd).run()
}

class Batch {
  readonly #store: BatchStore
  readonly #objects: readonly NewObject[]
  readonly #zstd: boolean
  readonly #files: FileBatch
  readonly #failures: Failures = new Map()

  constructor(store: BatchStore, objects: readonly NewObject[], zstd: boolean) {
    this.#store = store
    this.#objects = objects
    this.#zstd = zstd
    this.#files = {
      root: store.root,
      keys: objects.map(({ key }) => key),
      temp: `${store.tempFolder}/${randomUUID()}-`,
    }
  }

  async run(): Promise<Failures> {
    try {
      const isEmpty = !this.#zstd && this.#objects.every(({ body }) => body.length === 0)
      if (isEmpty) await this.#syncNames(await this.#store.batches.createEmpty(this.#files))
      else await this.#storeContents()
    } catch (error) {
      // A step that did not happen at all, for want of memory: those that were stored by then are garbage.
      for (const { key } of this.#objects) this.#fail(key, error)
    }
    return this.#failures
  }

  async #storeContents(): Promise<void> {
    const { batches, sync } = this.#store
    const isTogether = sync.isWorthwhile(this.#objects.length)
    const outcomes = await batches.writeTemps(
      this.#files,
      this.#objects.map(({ body }) => body),
      { zstdLevel: this.#zstd ? ZSTD_LEVEL : undefined, isSynced: !isTogether },
    )
    const written = outcomes.filter((outcome) => outcome > 0).length
    if (isTogether && written > 0 && !(await sync.everything(written))) {
      // Nobody knows which of them the disk lost, so each is stored again and asked about its own fate.
      // It leaves its own outcomes in what it is given.
      await batches.removeTemps(this.#files, outcomes.slice())
      await this.#each(outcomes, (object) => this.#store.putOne(object))
      return
    }
    await batches.publish(this.#files, outcomes)
    await this.#syncNames(outcomes)
  }

  async #syncNames(outcomes: Int32Array): Promise<void> {
    const made = outcomes.filter((outcome) => outcome > 0).length
    if (made > 0 && (await this.#store.sync.everything(made))) await this.#each(outcomes, async () => {})
    else
      await this.#each(outcomes, ({ key }, outcome) =>
        this.#store.syncEntry(key, outcome === OUTCOME.doneInNewFolder),
      )
  }

  /** Does what is left to do for those that were stored, and notes the failures of all. */
  async #each(
    outcomes: Int32Array,
    finish: (object: NewObject, outcome: number) => Promise<void>,
  ): Promise<void> {
    const finishing: Promise<void>[] = []
    for (const [i, outcome] of outcomes.entries()) {
      const object = this.#objects[i]!
      if (outcome < 0) this.#fail(object.key, systemError(outcome, STORING))
      else if (outcome !== OUTCOME.thereAlready)
        finishing.push(finish(object, outcome).catch((error) => this.#fail(object.key, error)))
    }
    await Promise.all(finishing)
  }

  #fail(key: string, error: unknown): void {
    this.#failures.set(key, fileError(`storing ${join(this.#store.root, key)}`, error))
  }
}
