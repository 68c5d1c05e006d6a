import { dirname, join, resolve } from 'node:path'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { type ReadPace, readPaceOf } from '../../support/read-pace.ts'
import { DiskSync } from './disk-sync.ts'
import { fileError, saysAbsent } from './file-error.ts'
import { FileFolders } from './file-folders.ts'
import { listKeys } from './file-list.ts'
import { type FileOps, nodeFileOps } from './file-ops.ts'
import { FilePuts } from './file-puts.ts'
import { FileReads } from './file-reads.ts'
import { prepareRoot } from './file-root.ts'
import type { StreamedObject } from './file-stream.ts'
import type { ByteRange, HasBelow, ObjectStore, PutMany } from './interface.ts'
import { checkKey } from './key.ts'

/** A folder of objects. */
export interface FileObjects extends ObjectStore {
  /** Where the object is a file, with just its bytes, if it is there. */
  pathOf(key: string): string
  /** Begins an object that is too large to be held in memory, and whose key may only be known at its end. */
  startObject(call?: Call): Promise<StreamedObject>
}

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
  await prepareRoot(folder, ops)
  const sync = new DiskSync(folder, ops, await ops.maySyncTogether(folder))
  return new FileObjectStore(folder, ops, sync, pace ?? (await readPaceOf(folder)))
}

/** A key is the path of its file below the root. Reading, putting and listing are a file each beside this one. */
class FileObjectStore implements FileObjects {
  readonly name: string
  readonly putMany: PutMany | undefined
  readonly hasBelow: HasBelow | undefined
  readonly #root: string
  readonly #ops: FileOps
  readonly #sync: DiskSync
  readonly #reads: FileReads
  readonly #puts: FilePuts

  constructor(root: string, ops: FileOps, sync: DiskSync, pace: ReadPace) {
    this.name = `file://${root}`
    this.#root = root
    this.#ops = ops
    this.#sync = sync
    this.#reads = new FileReads(pace)
    this.#puts = new FilePuts({
      root,
      ops,
      sync,
      reads: this.#reads,
      folders: new FileFolders(root, ops, sync),
    })
    this.hasBelow = ops.batches && ((prefix, digests, call) => this.#puts.hasBelow(prefix, digests, call))
    this.putMany = ops.batches && ((objects, call) => this.#puts.putMany(objects, call))
  }

  async get(key: string, call?: Call & { range?: ByteRange | undefined }): Promise<Uint8Array | undefined> {
    throwIfAborted(call?.signal)
    return this.#reads.read(this.pathOf(key), call)
  }

  async head(key: string, call?: Call): Promise<number | undefined> {
    throwIfAborted(call?.signal)
    checkKey(key)
    return this.#puts.head(key)
  }

  async put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void> {
    throwIfAborted(call?.signal)
    checkKey(key)
    await this.#puts.put(key, body, call)
  }

  pathOf(key: string): string {
    checkKey(key)
    return join(this.#root, key)
  }

  async startObject(call?: Call): Promise<StreamedObject> {
    throwIfAborted(call?.signal)
    return this.#puts.startObject()
  }

  list(prefix: string, call?: Call): AsyncIterable<string> {
    return listKeys(this.#root, prefix, call)
  }

  async delete(key: string, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    const path = this.pathOf(key)
    try {
      await this.#ops.unlink(path)
      await this.#sync.folder(dirname(path))
    } catch (error) {
      if (!saysAbsent(error)) throw fileError(`deleting ${path}`, error)
    }
  }
}
