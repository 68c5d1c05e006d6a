import { dirname, join } from 'node:path'
import { hex } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import { OBJECT_PUTS_MAX, SYNC_TOGETHER_MIN } from '../../support/limits.ts'
import { systemError } from '../../support/system-error.ts'
import { compress } from '../../support/zstd.ts'
import { type BatchStore, storeBatch } from './file-batch.ts'
import { fileError } from './file-error.ts'
import { type FilePutContext, putFile } from './file-put.ts'
import { newTempPath, TEMP_FOLDER } from './file-root.ts'
import { type StreamedObject, TempObject } from './file-stream.ts'
import type { NewObject, PutManyCall } from './interface.ts'
import { checkKey } from './key.ts'
import { OBJECT_DIGEST_BYTES, STORING } from './native-files.ts'

/**
 * What is being put into a store: one by one (file-put.ts), many in a batch (file-batch.ts), or piece by piece
 * (file-stream.ts). Durability costs a wait for the disk and not work, so it is made cheap by doing many puts at once:
 * see DiskSync.
 *
 * An object of ours that is being put does not exist for `head` and `ifAbsent` until it is durable, so nobody
 * refers to what a power cut could still take away. Between processes the order of the file system's journal
 * has to do: who saw the rename of another commits it with the next fsync of their own.
 */
export class FilePuts {
  readonly #context: FilePutContext
  readonly #writes = new Semaphore(OBJECT_PUTS_MAX)
  readonly #underway = new Map<string, Promise<void>>()

  constructor(context: FilePutContext) {
    this.#context = context
  }

  async head(key: string): Promise<number | undefined> {
    await this.#underway.get(key)?.catch(() => {}) // its own caller hears of a failure
    return this.#context.reads.sizeOf(this.#path(key))
  }

  /** As `head` of each. */
  async hasBelow(prefix: string, digests: Uint8Array, call?: Call): Promise<Uint8Array> {
    throwIfAborted(call?.signal)
    const { ops, root } = this.#context
    const keyOf = (i: number) => {
      const hexDigits = hex(digests.subarray(OBJECT_DIGEST_BYTES * i, OBJECT_DIGEST_BYTES * (i + 1)))
      return `${prefix}/${hexDigits.slice(0, 4)}/${hexDigits}`
    }
    const found = await ops.batches!.areThere(root, prefix, digests)
    const answers = new Uint8Array(found.length)
    for (const [i, answer] of found.entries()) {
      if (answer < 0) throw fileError(`looking for ${this.#path(keyOf(i))}`, systemError(answer, STORING))
      // What was seen may have been put a moment ago, and not be durable yet.
      const isUnderway = this.#underway.size > 0 && this.#underway.has(keyOf(i))
      answers[i] = (isUnderway ? (await this.head(keyOf(i))) !== undefined : answer > 0) ? 1 : 0
    }
    return answers
  }

  async put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void> {
    const path = this.#path(key)
    if (call?.ifAbsent) {
      for (let other = this.#underway.get(key); other; other = this.#underway.get(key)) {
        const stored = await other.then(
          () => true,
          () => false,
        )
        throwIfAborted(call.signal)
        if (stored) return
      }
    }
    const store = () => this.#context.sync.during(() => putFile(this.#context, path, body, call))
    const put = this.#writes.run(store, 1, call?.signal).catch((error) => this.#fail(path, error))
    await this.#noted([key], put)
  }

  async startObject(): Promise<StreamedObject> {
    const { root, ops, folders } = this.#context
    const temp = newTempPath(root)
    try {
      await folders.ensure(dirname(temp))
      const fd = await ops.open(temp, 'wx')
      return new TempObject(fd, temp, ops, (key) => this.#keep(temp, key))
    } catch (error) {
      return this.#fail(temp, error)
    }
  }

  /** Its contents are durable by now. */
  async #keep(temp: string, key: string): Promise<void> {
    checkKey(key)
    const path = this.#path(key)
    const { ops, sync, folders } = this.#context
    const renaming = sync.during(async () => {
      await folders.ensure(dirname(path))
      await ops.rename(temp, path)
      await folders.syncEntry(path)
    })
    await this.#noted([key], renaming)
  }

  /** Few are put one by one; so is what is being put already, for which that means to wait. */
  async putMany(objects: readonly NewObject[], call?: PutManyCall): Promise<(StoreError | undefined)[]> {
    throwIfAborted(call?.signal)
    const fresh = new Map<string, NewObject>()
    for (const object of objects) {
      checkKey(object.key)
      if (!this.#underway.has(object.key)) fresh.set(object.key, object)
    }
    if (fresh.size < SYNC_TOGETHER_MIN) fresh.clear()
    const others = objects.filter((object) => fresh.get(object.key) !== object)
    const failures = new Map<string, StoreError>()
    await Promise.all([
      fresh.size > 0 && this.#putBatch([...fresh.values()], failures, call),
      ...others.map(async (object) => {
        try {
          await this.#putIfAbsent(object, call)
        } catch (error) {
          failures.set(object.key, StoreError.from(error))
        }
      }),
    ])
    return objects.map(({ key }) => failures.get(key))
  }

  async #putIfAbsent({ key, body }: NewObject, call?: PutManyCall): Promise<void> {
    throwIfAborted(call?.signal)
    if ((await this.head(key)) !== undefined) return
    await this.put(key, call?.zstd && body.length > 0 ? await compress(body) : body, {
      signal: call?.signal,
      ifAbsent: true,
    })
  }

  async #putBatch(
    objects: readonly NewObject[],
    failures: Map<string, StoreError>,
    call?: PutManyCall,
  ): Promise<void> {
    const zstd = call?.zstd === true
    const store = () => this.#context.sync.during(() => storeBatch(this.#batchStore(zstd), objects, zstd))
    const put = this.#writes.run(store, 1, call?.signal).then((failed) => {
      if (failed.size === 0) return
      for (const [key, error] of failed) failures.set(key, error)
      if ([...failed.values()].some(({ cause }) => systemCode(cause) === 'ENOENT'))
        this.#context.folders.forget()
      // For whoever waits for one of them: they try for themselves.
      throw new StoreError('unavailable', 'not all objects of a batch could be stored')
    })
    try {
      await this.#noted(
        objects.map(({ key }) => key),
        put,
      )
    } catch (error) {
      if (failures.size === 0) throw fileError(`storing objects in ${this.#context.root}`, error)
    }
  }

  #batchStore(zstd: boolean): BatchStore {
    const { root, ops, sync, folders } = this.#context
    return {
      root,
      tempFolder: TEMP_FOLDER,
      batches: ops.batches!,
      sync,
      putOne: async ({ key, body }) =>
        putFile(this.#context, this.#path(key), zstd && body.length > 0 ? await compress(body) : body, {
          ifAbsent: true,
        }),
      syncEntry: (key, isInNewFolder) => {
        const path = this.#path(key)
        folders.note(path, isInNewFolder)
        return folders.syncEntry(path)
      },
    }
  }

  /** Until it settled, nobody sees what is under `keys`. */
  async #noted(keys: readonly string[], put: Promise<void>): Promise<void> {
    for (const key of keys) this.#underway.set(key, put)
    try {
      await put
    } finally {
      for (const key of keys) if (this.#underway.get(key) === put) this.#underway.delete(key)
    }
  }

  #path(key: string): string {
    return join(this.#context.root, key)
  }

  #fail(path: string, error: unknown): never {
    if (systemCode(error) === 'ENOENT') this.#context.folders.forget()
    throw fileError(`storing ${path}`, error)
  }
}
