import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import { createFolders } from '../../support/folders.ts'
import {
  OBJECT_FILES_MAX,
  OBJECT_PUTS_MAX,
  READ_ON_SPOT_BYTES_MAX,
  SYNC_TOGETHER_MIN,
  TEMP_FILE_STALE_MS,
} from '../../support/limits.ts'
import { type ReadPace, readPaceOf } from '../../support/read-pace.ts'
import { compress } from '../../support/zstd.ts'
import { DiskSync } from './disk-sync.ts'
import { type BatchStore, storeBatch } from './file-batch.ts'
import { fileError } from './file-error.ts'
import { type FileOps, nodeFileOps } from './file-ops.ts'
import type { ByteRange, NewObject, ObjectStore, PutMany, PutManyCall } from './interface.ts'
import { checkKey, isKey } from './key.ts'
import { cutRange } from './range.ts'

/** A folder of objects. */
export interface FileObjects extends ObjectStore {
  /** Where the object is a file, with just its bytes, if it is there. */
  pathOf(key: string): string
  /** Begins an object that is too large to be held in memory, and whose key may only be known at its end. */
  startObject(call?: Call): Promise<StreamedObject>
}

/** An object that nobody sees before it is kept. After a failure only `abort` may be called. */
export interface StreamedObject {
  /** Of the file that it is written to, until `keep` or `abort`. */
  readonly fd: number
  /** Resolves when the bytes are the caller's again. */
  write(bytes: Uint8Array): Promise<void>
  /** Resolves when it is there durably. What is there already under the key is replaced. */
  keep(key: string): Promise<void>
  /** Does nothing after `keep`. */
  abort(): Promise<void>
}

/** Below the root, where no key can point. */
const TEMP_FOLDER = '.tmp'

const open = promisify(fs.open)
const read = promisify(fs.read) as unknown as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>
const stat = promisify<string, fs.Stats>(fs.stat)

/**
 * Objects as files below `root`, which is created when it is missing (and may be read-only, if it exists).
 * Temp files that a killed process left behind are removed.
 */
export async function openFileObjectStore(
  root: string,
  ops: FileOps = nodeFileOps,
  pace?: ReadPace,
): Promise<FileObjects> {
  const folder = resolve(root)
  await createRoot(folder, ops)
  await removeStaleTempFiles(join(folder, TEMP_FOLDER), ops)
  const sync = new DiskSync(folder, ops, await ops.maySyncTogether(folder))
  return new FileObjectStore(folder, ops, sync, pace ?? (await readPaceOf(folder)))
}

/** A folder that is there. Its entry in the folder above is durable when a put that needed it resolved. */
interface Folder {
  readonly created: Promise<void>
  isDurable: boolean
}

/**
 * A put is: write a temp file, sync it, rename it to its name, sync the folder (and those above it, when it is new).
 * Whenever the power goes, there is either the whole object or none, and once `put` resolved there is the object.
 * Durability costs a wait for the disk and not work, so it is made cheap by doing many puts at once: see DiskSync.
 *
 * An object of ours that is being put does not exist for `head` and `ifAbsent` until it is durable, so nobody
 * refers to what a power cut could still take away. Between processes the order of the file system's journal
 * has to do: who saw the rename of another commits it with the next fsync of their own.
 */
class FileObjectStore implements FileObjects {
  readonly name: string
  readonly putMany: PutMany | undefined
  readonly #root: string
  readonly #ops: FileOps
  readonly #pace: ReadPace
  readonly #sync: DiskSync
  readonly #reads = new Semaphore(OBJECT_FILES_MAX)
  readonly #writes = new Semaphore(OBJECT_PUTS_MAX)
  /** Grows with the fan-out, not with the store. */
  readonly #folders = new Map<string, Folder>()
  readonly #puts = new Map<string, Promise<void>>()

  constructor(root: string, ops: FileOps, sync: DiskSync, pace: ReadPace) {
    this.name = `file://${root}`
    this.#root = root
    this.#ops = ops
    this.#pace = pace
    this.#sync = sync
    this.putMany = ops.batches && ((objects, call) => this.#putMany(objects, call))
    this.#forgetFolders()
  }

  async get(key: string, call?: Call & { range?: ByteRange | undefined }): Promise<Uint8Array | undefined> {
    throwIfAborted(call?.signal)
    const path = this.#path(key)
    if (this.#pace.isOnSpot) {
      const found = this.#pace.run(() => readSmallFile(path, call?.range))
      if (found !== TOO_LARGE) return found
    }
    return this.#reads.run(() => readFile(path, call?.range), 1, call?.signal)
  }

  async head(key: string, call?: Call): Promise<number | undefined> {
    throwIfAborted(call?.signal)
    const path = this.#path(key)
    await this.#puts.get(key)?.catch(() => {}) // its own caller hears of a failure
    return this.#sizeOf(path)
  }

  async put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void> {
    throwIfAborted(call?.signal)
    const path = this.#path(key)
    if (call?.ifAbsent) {
      for (let other = this.#puts.get(key); other; other = this.#puts.get(key)) {
        const stored = await other.then(
          () => true,
          () => false,
        )
        throwIfAborted(call.signal)
        if (stored) return
      }
    }
    const store = () => this.#sync.during(() => this.#store(path, body, call))
    const put = this.#writes.run(store, 1, call?.signal).catch((error) => {
      if (systemCode(error) === 'ENOENT') this.#forgetFolders()
      throw fileError(`storing ${path}`, error)
    })
    await this.#noted(key, put)
  }

  pathOf(key: string): string {
    return this.#path(key)
  }

  async startObject(call?: Call): Promise<StreamedObject> {
    throwIfAborted(call?.signal)
    const temp = join(this.#root, TEMP_FOLDER, randomUUID())
    try {
      await this.#ensureFolder(dirname(temp))
      const fd = await this.#ops.open(temp, 'wx')
      return new TempObject(fd, temp, this.#ops, (key) => this.#keep(temp, key))
    } catch (error) {
      if (systemCode(error) === 'ENOENT') this.#forgetFolders()
      throw fileError(`storing ${temp}`, error)
    }
  }

  /** Its contents are durable by now. */
  async #keep(temp: string, key: string): Promise<void> {
    const path = this.#path(key)
    const renaming = this.#sync.during(async () => {
      await this.#ensureFolder(dirname(path))
      await this.#ops.rename(temp, path)
      await this.#syncEntry(path)
    })
    await this.#noted(key, renaming)
  }

  /** Until it settled, nobody sees what is under `key`. */
  async #noted(key: string, put: Promise<void>): Promise<void> {
    this.#puts.set(key, put)
    try {
      await put
    } finally {
      if (this.#puts.get(key) === put) this.#puts.delete(key)
    }
  }

  /** Few are put one by one; so is what is being put already, for which that means to wait. */
  async #putMany(objects: readonly NewObject[], call?: PutManyCall): Promise<(StoreError | undefined)[]> {
    throwIfAborted(call?.signal)
    const fresh = new Map<string, NewObject>()
    for (const object of objects) {
      checkKey(object.key)
      if (!this.#puts.has(object.key)) fresh.set(object.key, object)
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
    if ((await this.head(key, call)) !== undefined) return
    await this.put(key, call?.zstd ? await compress(body) : body, { signal: call?.signal, ifAbsent: true })
  }

  async #putBatch(
    objects: readonly NewObject[],
    failures: Map<string, StoreError>,
    call?: PutManyCall,
  ): Promise<void> {
    const zstd = call?.zstd === true
    const store = () => this.#sync.during(() => storeBatch(this.#batchStore(zstd), objects, zstd))
    const put = this.#writes.run(store, 1, call?.signal).then((failed) => {
      if (failed.size === 0) return
      for (const [key, error] of failed) failures.set(key, error)
      if ([...failed.values()].some(({ cause }) => systemCode(cause) === 'ENOENT')) this.#forgetFolders()
      // For whoever waits for one of them: they try for themselves.
      throw new StoreError('unavailable', 'not all objects of a batch could be stored')
    })
    for (const { key } of objects) this.#puts.set(key, put)
    try {
      await put
    } catch (error) {
      if (failures.size === 0) throw fileError(`storing objects in ${this.#root}`, error)
    } finally {
      for (const { key } of objects) if (this.#puts.get(key) === put) this.#puts.delete(key)
    }
  }

  #batchStore(zstd: boolean): BatchStore {
    return {
      root: this.#root,
      tempFolder: TEMP_FOLDER,
      batches: this.#ops.batches!,
      sync: this.#sync,
      putOne: async ({ key, body }) =>
        this.#store(this.#path(key), zstd ? await compress(body) : body, { ifAbsent: true }),
      syncEntry: (key, isInNewFolder) => {
        const path = this.#path(key)
        this.#noteFolders(path, isInNewFolder)
        return this.#syncEntry(path)
      },
    }
  }

  /** Somebody else made the folders that a file is in. */
  #noteFolders(path: string, isNew: boolean): void {
    for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder)) {
      const known = this.#folders.get(folder)
      if (!known) this.#folders.set(folder, { created: Promise.resolve(), isDurable: false })
      else if (isNew) known.isDurable = false
      else break
    }
  }

  async *list(prefix: string, call?: Call): AsyncGenerator<string> {
    const slash = prefix.lastIndexOf('/')
    const folder = slash < 0 ? '' : prefix.slice(0, slash + 1)
    if (folder !== '') checkKey(folder.slice(0, -1))
    yield* this.#walk(folder, prefix.slice(slash + 1), call)
  }

  async delete(key: string, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    const path = this.#path(key)
    try {
      await this.#ops.unlink(path)
      await this.#sync.folder(dirname(path))
    } catch (error) {
      if (!saysAbsent(error)) throw fileError(`deleting ${path}`, error)
    }
  }

  async #sizeOf(path: string): Promise<number | undefined> {
    try {
      const stats = this.#pace.isOnSpot
        ? this.#pace.run(() => fs.statSync(path, { throwIfNoEntry: false }))
        : await stat(path)
      return stats?.isFile() ? stats.size : undefined
    } catch (error) {
      if (saysAbsent(error)) return undefined
      throw fileError(`looking for ${path}`, error)
    }
  }

  #path(key: string): string {
    checkKey(key)
    return join(this.#root, key)
  }

  async #store(path: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }) {
    if (call?.ifAbsent && (await this.#sizeOf(path)) !== undefined) return
    await this.#ensureFolder(dirname(path))
    if (body.length > 0 || !(await this.#createEmpty(path))) await this.#replace(path, body, call)
    await this.#syncEntry(path)
  }

  /** Without contents nothing could be half there, so it needs no temp file. False when there is a file already. */
  async #createEmpty(path: string): Promise<boolean> {
    try {
      this.#ops.close(await this.#ops.open(path, 'wx'))
      return true
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false
      throw error
    }
  }

  async #replace(path: string, body: Uint8Array, call?: Call): Promise<void> {
    const temp = join(this.#root, TEMP_FOLDER, randomUUID())
    try {
      await this.#ensureFolder(dirname(temp))
      await this.#writeTemp(temp, body, call)
      await this.#ops.rename(temp, path)
    } catch (error) {
      await this.#ops.unlink(temp).catch(() => {}) // it may be gone or never have been; the first error counts
      throw error
    }
  }

  async #writeTemp(temp: string, body: Uint8Array, call?: Call): Promise<void> {
    const fd = await this.#ops.open(temp, 'wx')
    try {
      let written = 0
      while (written < body.length) written += await this.#ops.write(fd, body, written)
      // An empty file has no contents to lose; its existence is the folder's business.
      if (body.length > 0) await this.#sync.file(fd)
    } finally {
      this.#ops.close(fd)
    }
    throwIfAborted(call?.signal)
  }

  /** Creates a folder and those above it; their entries need not be durable yet. */
  #ensureFolder(folder: string): Promise<void> {
    const known = this.#folders.get(folder)
    if (known) return known.created
    const created = this.#createFolder(folder)
    this.#folders.set(folder, { created, isDurable: false })
    created.catch(() => this.#folders.delete(folder))
    return created
  }

  async #createFolder(folder: string): Promise<void> {
    await this.#ensureFolder(dirname(folder))
    await this.#ops.mkdir(folder).catch((error) => {
      if (systemCode(error) !== 'EEXIST') throw error
    })
  }

  /**
   * Makes a name durable, and those of the folders above it that may not be: one of our puts has just created them,
   * or another process that may have been killed before this step.
   */
  async #syncEntry(path: string): Promise<void> {
    const synced = [this.#sync.folder(dirname(path))]
    const made: Folder[] = []
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      const known = this.#folders.get(folder)
      if (!known || known.isDurable) break
      made.push(known)
      synced.push(this.#sync.folder(dirname(folder)))
    }
    const failed = (await Promise.allSettled(synced)).find(({ status }) => status === 'rejected')
    if (failed) throw (failed as PromiseRejectedResult).reason
    for (const folder of made) folder.isDurable = true
  }

  /** At first, and when somebody removed folders below us: look again the next time, so that no restart is needed. */
  #forgetFolders(): void {
    this.#folders.clear()
    this.#folders.set(this.#root, { created: Promise.resolve(), isDurable: true })
  }

  /** Keys below `folder` ('' or with a slash at the end); `prefix` narrows the first level. */
  async *#walk(folder: string, prefix: string, call?: Call): AsyncGenerator<string> {
    throwIfAborted(call?.signal)
    const path = join(this.#root, folder)
    let entries: fs.Dirent[]
    try {
      entries = await fs.promises.readdir(path, { withFileTypes: true })
    } catch (error) {
      if (saysAbsent(error)) return
      throw fileError(`listing ${path}`, error)
    }
    for (const entry of entries) {
      // Names that are no keys are temp files, ours or those of other programs.
      if (!entry.name.startsWith(prefix) || !isKey(entry.name)) continue
      if (entry.isDirectory()) yield* this.#walk(`${folder}${entry.name}/`, '', call)
      else if (entry.isFile()) yield folder + entry.name
    }
  }
}

/** Large enough for an fsync of its own. */
class TempObject implements StreamedObject {
  readonly fd: number
  readonly #temp: string
  readonly #ops: FileOps
  readonly #rename: (key: string) => Promise<void>
  #isOpen = true
  #isKept = false

  constructor(fd: number, temp: string, ops: FileOps, rename: (key: string) => Promise<void>) {
    this.fd = fd
    this.#temp = temp
    this.#ops = ops
    this.#rename = rename
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let written = 0; written < bytes.length; )
        written += await this.#ops.write(this.fd, bytes, written)
    } catch (error) {
      throw fileError(`writing ${this.#temp}`, error)
    }
  }

  async keep(key: string): Promise<void> {
    try {
      await this.#ops.fsync(this.fd)
      this.#close()
      await this.#rename(key)
      this.#isKept = true
    } catch (error) {
      throw fileError(`storing ${key}`, error)
    }
  }

  async abort(): Promise<void> {
    this.#close()
    if (!this.#isKept) await this.#ops.unlink(this.#temp).catch(() => {}) // stale temp files are removed later
  }

  #close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#ops.close(this.fd)
  }
}

async function createRoot(root: string, ops: FileOps): Promise<void> {
  try {
    const created = await createFolders(root)
    const sync = new DiskSync(root, ops, false)
    for (const folder of created) await sync.folder(dirname(folder))
  } catch (error) {
    throw fileError(`creating ${root}`, error)
  }
}

async function removeStaleTempFiles(folder: string, ops: FileOps): Promise<void> {
  try {
    for (const name of await fs.promises.readdir(folder)) {
      const path = join(folder, name)
      const stats = await stat(path).catch(ignoreAbsent)
      if (stats && stats.mtimeMs < Date.now() - TEMP_FILE_STALE_MS) await ops.unlink(path).catch(ignoreAbsent)
    }
  } catch (error) {
    // A store that we may not write to is not ours to clean, and can be read all the same.
    if (saysAbsent(error) || ['EROFS', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return
    throw fileError(`removing what killed processes left in ${folder}`, error)
  }
}

/** Waits only where the disk may be waited for: fstat and close of an open file answer from memory. */
async function readFile(path: string, range: ByteRange | undefined): Promise<Uint8Array | undefined> {
  let fd: number | undefined
  try {
    fd = await open(path, 'r')
    const stats = fs.fstatSync(fd)
    if (!stats.isFile()) return undefined
    const { start, end } = cutRange(range, stats.size)
    return await readFully(fd, start, end - start)
  } catch (error) {
    if (saysAbsent(error)) return undefined
    throw fileError(`reading ${path}`, error)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

async function readFully(fd: number, start: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await read(fd, bytes, done, length - done, start + done)
    if (bytesRead === 0) throw endsEarly(length - done)
    done += bytesRead
  }
  return bytes
}

const TOO_LARGE = Symbol('too large to be read on the spot')

/** The same without any waiting for others, for small files. */
function readSmallFile(path: string, range: ByteRange | undefined) {
  let fd: number | undefined
  try {
    fd = fs.openSync(path, 'r')
    const stats = fs.fstatSync(fd)
    if (!stats.isFile()) return undefined
    const { start, end } = cutRange(range, stats.size)
    if (end - start > READ_ON_SPOT_BYTES_MAX) return TOO_LARGE
    const bytes = Buffer.allocUnsafeSlow(end - start)
    for (let done = 0; done < bytes.length; ) {
      const bytesRead = fs.readSync(fd, bytes, done, bytes.length - done, start + done)
      if (bytesRead === 0) throw endsEarly(bytes.length - done)
      done += bytesRead
    }
    return bytes
  } catch (error) {
    if (saysAbsent(error)) return undefined
    throw fileError(`reading ${path}`, error)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

function endsEarly(missing: number): Error {
  return new Error(`the file ends ${missing} bytes too early`)
}

/** Only these two mean that there is no such file; any other failure leaves it open. */
function saysAbsent(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

function ignoreAbsent(error: unknown): undefined {
  if (!saysAbsent(error)) throw error
}
