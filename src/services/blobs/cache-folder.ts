import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import {
  type FileHandle,
  link,
  lutimes,
  mkdir,
  open,
  readFile,
  rename,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../model/castore/digest.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import { createFolders } from '../../support/folders.ts'
import { DISK_CACHE_TOUCH_MS, DISK_CACHE_TOUCHED_MAX } from '../../support/limits.ts'
import { fileError } from '../objects/file-error.ts'
import { decodeCacheMap, encodeCacheMap, filledOffset } from './cache-map.ts'
import { RAW_BLOBS_VERSION } from './file-blobs-layout.ts'
import { HashedMark } from './hashed-mark.ts'
import type { ChunkMeta } from './interface.ts'
import { nativeFileNotes } from './native-file-notes.ts'

const VERSION = 'tvix-store blob cache 1\n'

/**
 * Where others may write to the folder, a link would lead what we write to a file of ours, and a pipe would keep a thread of the
 * pool for ever.
 */
const { O_RDONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = constants
export const FOR_READING = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
const FOR_FILLING = O_RDWR | O_NOFOLLOW | O_NONBLOCK

/**
 * The files of a blob cache (docs/cache-format.md), shared by all processes that use it:
 *
 *     version
 *     blobs/<2 hex>/<digest>              a whole blob, raw
 *     blobs/<2 hex>/<digest>.<id>.part    one that is being filled; sparse
 *     blobs/<2 hex>/<digest>.map          its chunks and which of them are there; stays when it is whole
 *
 * Nothing is locked: a `.part` belongs to the one map that names it, bytes are written before the map says that they
 * are there, and whoever reads verifies.
 */
export class CacheFolder {
  readonly path: string
  readonly #touched = new LRUCache<string, number>({ max: DISK_CACHE_TOUCHED_MAX })

  private constructor(path: string) {
    this.path = path
  }

  /** Creates the folder if it is missing. Throws `precondition` for one of another kind or version. */
  static async open(path: string): Promise<CacheFolder> {
    try {
      await createFolders(join(path, 'blobs'))
      await writeFile(join(path, 'version'), VERSION, { flag: 'wx', flush: true }).catch(unless('EEXIST'))
      const version = await readFile(join(path, 'version'), { encoding: 'utf8', flag: FOR_READING })
      // Another process may have created it this moment, or one of earlier versions before a power cut.
      if (!/^\0*$/.test(version) && version !== VERSION) throw foreign(path, version)
      return new CacheFolder(path)
    } catch (error) {
      throw fileError(`the blob cache ${path} cannot be used`, error)
    }
  }

  get blobs(): string {
    return join(this.path, 'blobs')
  }

  wholePath(digest: Digest): string {
    return join(this.blobs, digest.hex.slice(0, 2), digest.hex)
  }

  /** An open file with the whole blob, which is not verified; `undefined` when it is not there. */
  async openWhole(digest: Digest): Promise<FileHandle | undefined> {
    const path = this.wholePath(digest)
    const file = await open(path, FOR_READING).catch(unless('ENOENT'))
    if (file) this.#touch(path)
    return file ?? undefined
  }

  /** Removes all there is of a blob. Whoever has it open reads on. */
  async discard(digest: Digest): Promise<void> {
    const layout = await this.readLayout(digest)
    await removeIfThere(this.#mapPath(digest))
    if (layout) await removeIfThere(this.#partPath(layout))
    await removeIfThere(this.wholePath(digest))
  }

  /** A file that becomes the whole blob when it is kept; what is written to it must be verified by then. */
  async startWhole(digest: Digest): Promise<NewFile> {
    const path = `${this.wholePath(digest)}.${newId()}.part`
    return new NewFile(await openIn(path, 'wx'), path, this.wholePath(digest), digest)
  }

  /** How the blob divides and what of it is there, as far as is known here. */
  async readLayout(digest: Digest): Promise<Layout | undefined> {
    const bytes = await readFile(this.#mapPath(digest), { flag: FOR_READING }).catch(unless('ENOENT'))
    if (!bytes) return undefined
    const map = decodeCacheMap(bytes)
    if (!map) {
      await removeIfThere(this.#mapPath(digest))
      return undefined
    }
    return new Layout(digest, map.chunks, map.id, map.filled)
  }

  /** The bytes of a chunk, not verified; `undefined` when they are not there. */
  async readChunk(layout: Layout, index: number): Promise<Uint8Array | undefined> {
    if (!layout.filled[index] && !(await this.#isFilled(layout, index))) return undefined
    const file =
      (await open(this.#partPath(layout), FOR_READING).catch(unless('ENOENT'))) ??
      (await this.openWhole(layout.digest))
    if (!file) {
      layout.reset() // evicted
      return undefined
    }
    try {
      this.#touch(this.#mapPath(layout.digest))
      const chunk = Buffer.allocUnsafeSlow(layout.chunks[index]!.size)
      const { bytesRead } = await file.read(chunk, 0, chunk.length, layout.start(index))
      return chunk.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  }

  /** Writes a chunk, and then that it is there. */
  async fillChunk(layout: Layout, index: number, bytes: Uint8Array): Promise<void> {
    if (layout.id === undefined) await this.#createMap(layout)
    // Never created here: a late writer would begin an empty part under the name of one that is whole by now.
    const part = await open(this.#partPath(layout), FOR_FILLING).catch(unless('ENOENT'))
    if (!part) return await this.#partIsGone(layout, index)
    try {
      await writeAll(part, bytes, layout.start(index))
    } finally {
      await part.close()
    }
    await this.#mark(layout, index, 1)
  }

  /** Either it became the whole blob, or it was evicted. */
  async #partIsGone(layout: Layout, index: number): Promise<void> {
    const whole = await this.openWhole(layout.digest)
    if (whole) {
      layout.filled[index] = 1
      return await whole.close()
    }
    await this.discard(layout.digest)
    layout.reset()
  }

  /** Forgets a chunk whose bytes proved to be wrong. */
  async spoilChunk(layout: Layout, index: number): Promise<void> {
    layout.filled[index] = 0
    // Of a whole blob nothing is left that could be trusted; it is filled again.
    await this.discard(layout.digest)
    layout.reset()
  }

  /** The part, when every chunk is in it; to be verified before `keep`. */
  async openComplete(layout: Layout): Promise<FileHandle | undefined> {
    const known = await this.readLayout(layout.digest)
    if (!known || known.id !== layout.id || !known.filled.every((each) => each === 1)) return undefined
    return (await open(this.#partPath(layout), FOR_READING).catch(unless('ENOENT'))) ?? undefined
  }

  /** Makes the part the whole blob. */
  async keep(layout: Layout): Promise<void> {
    await rename(this.#partPath(layout), this.wholePath(layout.digest)).catch(unless('ENOENT'))
  }

  #mapPath(digest: Digest): string {
    return `${this.wholePath(digest)}.map`
  }

  #partPath({ digest, id }: Pick<Layout, 'digest' | 'id'>): string {
    return `${this.wholePath(digest)}.${id}.part`
  }

  /** One map for all processes: whoever comes second takes over what the first one wrote. */
  async #createMap(layout: Layout): Promise<void> {
    const id = newId()
    const path = this.#mapPath(layout.digest)
    const part = this.#partPath({ digest: layout.digest, id })
    const temp = `${path}.${id}.part`
    const filled = new Uint8Array(layout.chunks.length)
    try {
      await (await openIn(part, 'wx')).close()
      await writeFile(temp, encodeCacheMap({ id, chunks: layout.chunks, filled }), { flag: 'wx' })
      await link(temp, path)
      layout.id = id
      layout.filled = filled
    } catch (error) {
      await removeIfThere(part)
      if (systemCode(error) !== 'EEXIST') throw error
      const other = await this.readLayout(layout.digest)
      if (!other || !layout.adopt(other)) throw new StoreError('unavailable', `${path} is being replaced`)
    } finally {
      await removeIfThere(temp)
    }
  }

  async #isFilled(layout: Layout, index: number): Promise<boolean> {
    if (layout.id === undefined) return false
    const map = await open(this.#mapPath(layout.digest), FOR_READING).catch(unless('ENOENT'))
    if (!map) return false
    try {
      const state = Buffer.alloc(1)
      await map.read(state, 0, 1, filledOffset(layout.chunks.length, index))
      layout.filled[index] = state[0]!
      return state[0] === 1
    } finally {
      await map.close()
    }
  }

  async #mark(layout: Layout, index: number, state: 0 | 1): Promise<void> {
    const map = await open(this.#mapPath(layout.digest), FOR_FILLING).catch(unless('ENOENT'))
    // Evicted meanwhile; what was written goes with the stale parts.
    if (!map) return layout.reset()
    try {
      await map.write(Buffer.of(state), 0, 1, filledOffset(layout.chunks.length, index))
      layout.filled[index] = state
    } finally {
      await map.close()
    }
  }

  /** Says that a blob was used; eviction begins with what was not. */
  #touch(path: string): void {
    const now = Date.now()
    // Either way: the clock may have been set back.
    if (Math.abs(now - (this.#touched.get(path) ?? 0)) < DISK_CACHE_TOUCH_MS) return
    this.#touched.set(path, now)
    // The time of modification tells that nobody wrote to it (hashed-mark.ts); without the addon nothing depends on that.
    const touched = nativeFileNotes()?.touchAccess(path) ?? lutimes(path, now / 1000, now / 1000)
    // Whoever evicted it meanwhile, or a disk that takes no more, will show elsewhere.
    touched.catch(() => {})
  }
}

/** A blob by its chunks. */
export class Layout {
  readonly digest: Digest
  readonly chunks: readonly ChunkMeta[]
  /** What its files are called; `undefined` while there are none. */
  id: string | undefined
  filled: Uint8Array
  readonly #starts: Float64Array

  constructor(digest: Digest, chunks: readonly ChunkMeta[], id?: string, filled?: Uint8Array) {
    this.digest = digest
    this.chunks = chunks
    this.id = id
    this.filled = filled ?? new Uint8Array(chunks.length)
    this.#starts = new Float64Array(chunks.length)
    for (let index = 1; index < chunks.length; index++)
      this.#starts[index] = this.#starts[index - 1]! + chunks[index - 1]!.size
  }

  /** The offset of a chunk in the blob. */
  start(index: number): number {
    return this.#starts[index]!
  }

  get isFilled(): boolean {
    return this.filled.every((each) => each === 1)
  }

  /** Takes over the files of another of the same chunks. */
  adopt(other: Layout): boolean {
    const isSame =
      other.chunks.length === this.chunks.length &&
      other.chunks.every(({ digest, size }, index) => {
        const own = this.chunks[index]!
        return own.size === size && own.digest.equals(digest)
      })
    if (!isSame) return false
    this.id = other.id
    for (const [index, state] of other.filled.entries()) this.filled[index]! |= state
    return true
  }

  /** Its files are gone. */
  reset(): void {
    this.id = undefined
    this.filled = new Uint8Array(this.chunks.length)
  }
}

/** A file that is not visible as a blob until it is kept. */
export class NewFile {
  readonly #file: FileHandle
  readonly #temp: string
  readonly #path: string
  readonly #digest: Digest
  #offset = 0

  constructor(file: FileHandle, temp: string, path: string, digest: Digest) {
    this.#file = file
    this.#temp = temp
    this.#path = path
    this.#digest = digest
  }

  async write(bytes: Uint8Array): Promise<void> {
    await writeAll(this.#file, bytes, this.#offset)
    this.#offset += bytes.length
  }

  async keep(): Promise<void> {
    await new HashedMark().setWritten(this.#file.fd, this.#digest)
    await this.#file.close()
    await rename(this.#temp, this.#path)
  }

  async abort(): Promise<void> {
    await this.#file.close().catch(() => {})
    await removeIfThere(this.#temp)
  }
}

function newId(): string {
  return randomBytes(8).toString('hex')
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
}

/** Opens a file in a folder that may have to be created first. */
async function openIn(path: string, flags: string): Promise<FileHandle> {
  const file = await open(path, flags, 0o644).catch(unless('ENOENT'))
  if (file) return file
  await mkdir(dirname(path)).catch(unless('EEXIST'))
  return await open(path, flags, 0o644)
}

async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch(unless('ENOENT'))
}

/** Whether a disk, or a share of one, takes no more. */
export function isFull(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
}

function unless(code: string): (error: unknown) => undefined {
  return (error) => {
    if (systemCode(error) !== code) throw error
    return undefined
  }
}

function foreign(path: string, version: string): StoreError {
  if (version === RAW_BLOBS_VERSION)
    return new StoreError(
      'precondition',
      `${path} is a store of blobs (files://${path}) and no cache, of which parts are deleted: name another folder`,
    )
  const found = JSON.stringify(version.slice(0, 40))
  return new StoreError(
    'precondition',
    `${path} holds a cache of another kind (${found}); name another folder, or delete it: a cache can be lost`,
  )
}
