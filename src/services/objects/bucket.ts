import type { BufferRooms } from '../../support/buffer-rooms.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { mapConcurrent, SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { BUCKET_ABANDON_MS_MAX, BUCKET_PARTS_AT_ONCE, BUCKET_PUT_BYTES_MAX } from '../../support/limits.ts'
import { type Request, type RequestPolicy, Requests } from '../requests.ts'
import type { ByteRange, GetCall, ObjectStore } from './interface.ts'
import { checkKey, isKey } from './key.ts'
import { cutRange, type ObjectAnswer, wantedPart } from './range.ts'

/**
 * What differs from one kind of bucket to another: single requests, each made once. Keys carry the prefix of the
 * address. Errors are whatever the SDK throws; `explain` knows them.
 */
export interface Bucket {
  /** For messages: the address without credentials. */
  readonly name: string
  /** `undefined` when the server says that there is no such object. Whether it is what was asked for is not for here. */
  get(
    key: string,
    range: ByteRange | undefined,
    request: Request,
    rooms?: BufferRooms,
  ): Promise<ObjectAnswer | undefined>
  head(key: string, request: Request): Promise<number | undefined>
  /** With `ifAbsent`, an object that is there already is success. */
  put(key: string, body: Uint8Array, ifAbsent: boolean, request: Request): Promise<void>
  /** How objects of more than one request are put; without it `put` takes all sizes. */
  readonly parts?: PartedUploads
  /** `cursor` is the `next` of the page before. */
  page(prefix: string, cursor: string | undefined, request: Request): Promise<Page>
  delete(key: string, request: Request): Promise<void>
  /**
   * Throws when there is no such bucket. Asked once, when an object was absent for the first time: servers say 404
   * for either, and a typing error must not look like an empty store.
   */
  checkExists(request: Request): Promise<void>
  /**
   * What an SDK threw, as a StoreError whose message stands alone and shows no credentials. `hasWorked`: a request
   * has succeeded before, so there were credentials.
   */
  explain(error: unknown, hasWorked: boolean): StoreError
  [Symbol.dispose](): void
}

export interface Page {
  readonly keys: readonly string[]
  readonly next: string | undefined
}

/** An object in parts becomes visible when it is complete. `U` stands for an upload under way. */
export interface PartedUploads<U = unknown, P = unknown> {
  start(key: string, request: Request): Promise<U>
  part(upload: U, number: number, bytes: Uint8Array, request: Request): Promise<P>
  complete(upload: U, parts: readonly P[], ifAbsent: boolean, request: Request): Promise<void>
  abandon(upload: U, request: Request): Promise<void>
}

/** A bucket as an object store, below `prefix` ('' or with a slash at its end). */
export function bucketObjectStore(
  bucket: Bucket,
  prefix: string,
  policy: Partial<RequestPolicy> = {},
): ObjectStore & Disposable {
  return new BucketObjectStore(bucket, prefix, policy)
}

class BucketObjectStore implements ObjectStore, Disposable {
  readonly name: string
  readonly #bucket: Bucket
  readonly #prefix: string
  readonly #requests: Requests
  readonly #checks = new SingleFlight<'exists', void>()
  #exists = false
  #hasWorked = false

  constructor(bucket: Bucket, prefix: string, policy: Partial<RequestPolicy>) {
    this.name = bucket.name
    this.#bucket = bucket
    this.#prefix = prefix
    this.#requests = new Requests((error) => bucket.explain(error, this.#hasWorked), policy)
  }

  async get(key: string, call?: GetCall): Promise<Uint8Array | undefined> {
    const full = this.#fullKey(key, call)
    const range = call?.range && cutRange(call.range, Number.MAX_SAFE_INTEGER)
    // No server knows an empty range.
    if (range && range.start === range.end)
      return (await this.head(key, call)) === undefined ? undefined : new Uint8Array(0)
    const read = async (request: Request) => {
      const answer = await this.#bucket.get(full, range, request, call?.rooms)
      return answer && wantedPart(answer, range)
    }
    const found = await this.#run('reading', key, read, call)
    if (!found) await this.#checkExists(call)
    return found
  }

  async head(key: string, call?: Call): Promise<number | undefined> {
    const full = this.#fullKey(key, call)
    const size = await this.#run('looking for', key, (request) => this.#bucket.head(full, request), call)
    if (size === undefined) await this.#checkExists(call)
    return size
  }

  async put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void> {
    const full = this.#fullKey(key, call)
    const ifAbsent = call?.ifAbsent ?? false
    const { parts } = this.#bucket
    if (parts && body.length > BUCKET_PUT_BYTES_MAX) {
      // Worth a question: the parts would be sent before the server gets to say that it has the object.
      if (ifAbsent && (await this.head(key, call)) !== undefined) return
      return await this.#putParts(parts, key, body, ifAbsent, call)
    }
    await this.#run(
      'storing',
      key,
      (request) => this.#bucket.put(full, body, ifAbsent, request),
      call,
      body.length,
    )
  }

  async *list(prefix: string, call?: Call): AsyncGenerator<string> {
    let cursor: string | undefined
    do {
      throwIfAborted(call?.signal)
      const page = await this.#run(
        'listing',
        prefix,
        (request) => this.#bucket.page(this.#prefix + prefix, cursor, request),
        call,
      )
      for (const full of page.keys) {
        const key = full.slice(this.#prefix.length)
        // What is no key of ours was put there by others, or stands for a folder.
        if (full.startsWith(this.#prefix + prefix) && isKey(key)) yield key
      }
      if (page.next !== undefined && page.next === cursor)
        throw new StoreError(
          'corrupt',
          `listing ${prefix || 'all'} in ${this.name}: the same page comes again`,
        )
      cursor = page.next
    } while (cursor !== undefined)
  }

  async delete(key: string, call?: Call): Promise<void> {
    const full = this.#fullKey(key, call)
    await this.#run('deleting', key, (request) => this.#bucket.delete(full, request), call)
  }

  [Symbol.dispose](): void {
    this.#bucket[Symbol.dispose]()
  }

  async #putParts(
    parts: PartedUploads,
    key: string,
    body: Uint8Array,
    ifAbsent: boolean,
    call?: Call,
  ): Promise<void> {
    const full = this.#fullKey(key, call)
    const upload = await this.#run('storing', key, (request) => parts.start(full, request), call)
    try {
      const sent: unknown[] = []
      const sending = mapConcurrent(
        partsOf(body).entries(),
        BUCKET_PARTS_AT_ONCE,
        ([index, bytes], own) =>
          this.#run(
            'storing',
            key,
            (request) => parts.part(upload, index + 1, bytes, request),
            own,
            bytes.length,
          ),
        call,
      )
      for await (const part of sending) sent.push(part)
      await this.#run('storing', key, (request) => parts.complete(upload, sent, ifAbsent, request), call)
    } catch (error) {
      // Parts that nobody completes cost money. Also when the caller has left, so without their signal, but not for
      // long; when it fails as well, the first error is the one to tell, and the bucket's lifecycle rule has to do it.
      const signal = AbortSignal.timeout(BUCKET_ABANDON_MS_MAX)
      await this.#run('giving up', key, (request) => parts.abandon(upload, request), { signal }).catch(
        () => {},
      )
      throw error
    }
  }

  async #run<T>(
    doing: string,
    key: string,
    work: (request: Request) => Promise<T>,
    call: Call | undefined,
    sends = 0,
  ): Promise<T> {
    const where = key === '' ? this.name : `${key} in ${this.name}`
    const result = await this.#requests.run(`${doing} ${where}`, work, { signal: call?.signal, sends })
    this.#hasWorked = true
    return result
  }

  async #checkExists(call: Call | undefined): Promise<void> {
    if (this.#exists) return
    const check = (own: Call) =>
      this.#requests.run(this.name, (request) => this.#bucket.checkExists(request), own)
    await this.#checks.run('exists', check, call)
    this.#exists = true
  }

  #fullKey(key: string, call: Call | undefined): string {
    throwIfAborted(call?.signal)
    checkKey(key)
    return this.#prefix + key
  }
}

function partsOf(body: Uint8Array): Uint8Array[] {
  const size = BUCKET_PUT_BYTES_MAX / 2
  return Array.from({ length: Math.ceil(body.length / size) }, (_, index) =>
    body.subarray(index * size, (index + 1) * size),
  )
}
