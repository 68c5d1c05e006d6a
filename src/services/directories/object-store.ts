import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import {
  CLOSURE_FIRST_READ_BYTES,
  CLOSURE_READ_BYTES_MAX,
  DIRECTORY_BYTES_MAX,
  DIRECTORY_STORES_MAX,
  OBJECT_BATCH_BYTES_MAX,
  OBJECT_BATCH_MAX,
  OBJECT_BATCHES_MAX,
} from '../../support/limits.ts'
import { compress, decompress } from '../../support/zstd.ts'
import type { NewObject, ObjectStore } from '../objects/interface.ts'
import { decodeClosure, encodeClosure } from './closure-frames.ts'
import { ClosureMembers } from './closure-members.ts'
import { type Closure, type CollectedDirectory, closurePutter } from './closure-putter.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'
import { decodeStored, encodeForStorage } from './stored.ts'
import { traverse } from './traverse.ts'

/**
 * Directories in an object store, in the layout of spec §3.6: one object per uploaded closure, found by the digest
 * of its root. In addition every directory below the root gets an object of its own, so that it is found too:
 *
 *     dirs/b3/<4 hex>/<hex>          the closure of a root (see closure-frames.ts); shared with other programs
 *     directories/b3/<4 hex>/<hex>   one zstd frame with the canonical encoding of one directory; ours alone
 *
 * The closure is written last: where it is, everything it refers to is. Other programs write no index; what is below
 * their roots is found once the root was asked for (see closure-members.ts).
 */
export function objectStoreDirectoryService(objects: ObjectStore): DirectoryService {
  return new ObjectStoreDirectoryService(objects)
}

class ObjectStoreDirectoryService implements DirectoryService {
  readonly #objects: ObjectStore
  readonly #members = new ClosureMembers((root, call) => this.#closure(root, call))

  constructor(objects: ObjectStore) {
    this.#objects = objects
  }

  /** The index first: it has all directories but the roots, where we wrote them. */
  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    throwIfAborted(call?.signal)
    const known = this.#members.kept(digest) ?? (await this.#indexed(digest, call))
    if (known) return known
    for await (const root of this.#closure(digest, call)) return root
    return await this.#members.find(digest, call)
  }

  async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    let isRoot = false
    for await (const directory of this.#closure(digest, call)) {
      isRoot = true
      yield directory
    }
    if (!isRoot) yield* traverse(digest, (child, inner) => this.get(child, inner), this.#objects.name, call)
  }

  async put(directory: Directory, call?: Call): Promise<Digest> {
    const [child] = directory.children()
    // Its closure could not be written, and a `dirs/` object without it would be read as complete.
    if (child)
      throw new StoreError(
        'invalid-argument',
        `${this.#objects.name} keeps whole closures: directory ${directory.digest} has sub-directories, upload it with them`,
      )
    const body = await encodeClosure([encodeForStorage(directory)])
    await this.#objects.put(closureKey(directory.digest), body, { ...call, ifAbsent: true })
    return directory.digest
  }

  startPutter(call?: Call): DirectoryPutter {
    return closurePutter((closure) => this.#store(closure, call), call)
  }

  async #store({ root, leavesToRoot }: Closure, call: Call | undefined): Promise<void> {
    // Also when the closure is there already: a program that knows no index may have written it.
    const inner = leavesToRoot.filter(({ digest }) => !digest.equals(root))
    await this.#storeAll(inner, call)
    const key = closureKey(root)
    if ((await this.#objects.head(key, call)) !== undefined) return
    const body = await encodeClosure(breadthFirst(root, leavesToRoot))
    await this.#objects.put(key, body, { ...call, ifAbsent: true })
  }

  async #storeAll(directories: readonly CollectedDirectory[], call: Call | undefined): Promise<void> {
    const { putMany } = this.#objects
    // A frame of nothing is not nothing, which is what would be stored of an empty one in a batch.
    const alone = putMany ? directories.filter(({ encoded }) => encoded.length === 0) : directories
    const store = (item: CollectedDirectory, own: Call) => this.#storeIndexed(item, own)
    for await (const _ of mapConcurrent(alone, DIRECTORY_STORES_MAX, store, call))
      throwIfAborted(call?.signal)
    if (!putMany) return
    const put = async (objects: readonly NewObject[], own: Call) => {
      const [failure] = (await putMany(objects, { ...own, zstd: true })).filter(Boolean)
      if (failure) throw failure
    }
    for await (const _ of mapConcurrent(batchesOf(directories), OBJECT_BATCHES_MAX, put, call))
      throwIfAborted(call?.signal)
  }

  async #storeIndexed({ digest, encoded }: CollectedDirectory, call: Call): Promise<void> {
    const key = indexKey(digest)
    if ((await this.#objects.head(key, call)) !== undefined) return
    await this.#objects.put(key, await compress(encoded), { ...call, ifAbsent: true })
  }

  /** The directories of the closure object, root first; none when there is no such object. */
  async *#closure(root: Digest, call: Call | undefined): AsyncGenerator<Directory> {
    const key = closureKey(root)
    const source = `${this.#objects.name}: ${key}`
    // Absence is to be known before a decompressor gets to see an empty stream.
    const first = await this.#read(key, 0, CLOSURE_FIRST_READ_BYTES, call)
    if (!first) return
    for await (const encoded of decodeClosure(this.#parts(key, first, call), source)) {
      throwIfAborted(call?.signal)
      const directory = decodeStored(encoded, root, source)
      this.#members.met(root, directory)
      yield directory
    }
  }

  /** The closure object piece by piece, so that memory does not grow with it. */
  async *#parts(key: string, first: Uint8Array, call: Call | undefined): AsyncGenerator<Uint8Array> {
    yield first
    let offset = first.length
    let wanted = CLOSURE_FIRST_READ_BYTES
    let got = first.length
    while (got === wanted) {
      // Growing: most closures that need a second read need little more.
      wanted = Math.min(4 * wanted, CLOSURE_READ_BYTES_MAX)
      const part = await this.#read(key, offset, wanted, call)
      if (!part) throw new StoreError('corrupt', `${this.#objects.name}: ${key} vanished while it was read`)
      if (part.length > 0) yield part
      got = part.length
      offset += got
    }
  }

  #read(key: string, start: number, length: number, call: Call | undefined): Promise<Uint8Array | undefined> {
    return this.#objects.get(key, { ...call, range: { start, end: start + length } })
  }

  async #indexed(digest: Digest, call: Call | undefined): Promise<Directory | undefined> {
    const key = indexKey(digest)
    const body = await this.#objects.get(key, call)
    if (!body) return undefined
    const source = `${this.#objects.name}: ${key}`
    return decodeStored(await decompress(body, DIRECTORY_BYTES_MAX, source), digest, source)
  }
}

/** Those that are not empty, so many at a time as are stored in one go. */
function* batchesOf(directories: readonly CollectedDirectory[]): Generator<NewObject[]> {
  let batch: NewObject[] = []
  let bytes = 0
  for (const { digest, encoded } of directories) {
    if (encoded.length === 0) continue
    batch.push({ key: indexKey(digest), body: encoded })
    bytes += encoded.length
    if (batch.length < OBJECT_BATCH_MAX && bytes < OBJECT_BATCH_BYTES_MAX) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

/** The order of spec §2.3: a queue that takes each digest once. */
function breadthFirst(root: Digest, closure: readonly CollectedDirectory[]): Uint8Array[] {
  const byDigest = new Map(closure.map((directory) => [directory.digest.key, directory]))
  const queue = [root]
  const met = new Set([root.key])
  const encodings: Uint8Array[] = []
  for (const digest of queue) {
    const { encoded, children } = byDigest.get(digest.key)!
    encodings.push(encoded)
    for (const child of children) {
      if (met.has(child.key)) continue
      met.add(child.key)
      queue.push(child)
    }
  }
  return encodings
}

function closureKey(digest: Digest): string {
  return `dirs/${fannedOut(digest)}`
}

function indexKey(digest: Digest): string {
  return `directories/${fannedOut(digest)}`
}

/** Two bytes of fan-out are four characters (spec §3.3). */
function fannedOut(digest: Digest): string {
  return `b3/${digest.hex.slice(0, 4)}/${digest.hex}`
}
