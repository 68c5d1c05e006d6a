import { type Call, throwIfAborted } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { isRetryable, StoreError, withContext } from '../support/errors.ts'
import {
  WRITE_BACK_REFUSED_MS_MAX,
  WRITE_BACK_REFUSED_MS_MIN,
  WRITE_BACK_RETRY_MS_MAX,
  WRITE_BACK_RETRY_MS_MIN,
  WRITE_BACK_UPLOADS_MAX,
} from '../support/limits.ts'
import { type Logger, silentLogger } from '../support/log.ts'
import { pause } from '../support/pause.ts'
import { holdExclusively } from './exclusive.ts'
import { type LmdbEntry, type LmdbTable, openLmdbTable, readLmdbTable } from './lmdb-table.ts'
import { encodeUpload, keyOf, kindOf, type QueuedKind, uploadName } from './queued-upload.ts'
import { type CheckNotRefused, listRefused, type RefusedUpload, RefusedUploads } from './refused-uploads.ts'

/**
 * Sends what `key` stands for from near to far. Called again until it succeeds; what is gone near is no failure. `check` is
 * to be called for all that the object refers to, before far gets anything of it.
 */
export type Send = (key: Uint8Array, call: Call, check: CheckNotRefused) => Promise<void>

/**
 * What is still to be sent to a far side, in an LMDB file, so that it survives this process. Everything is sent in
 * the order in which it was added (blobs that follow each other, side by side), again and again until far takes it. What far
 * refuses, and all that refers to it, is set aside and tried again now and then.
 */
export interface WriteQueue extends AsyncDisposable {
  /** How a kind is sent; nothing of that kind, or behind it, is sent before. */
  register(kind: QueuedKind, send: Send): void
  /**
   * Resolves when it is durably noted that `key` is to be sent. It is not sent before the result is called, which
   * says that near has it now (or never will).
   */
  add(kind: QueuedKind, key: Uint8Array): Promise<() => void>
  /** Resolves when everything was sent or refused; rejects when the call is aborted. */
  drained(call?: Call): Promise<void>
  /** What waits to be sent, or to be tried again at this moment. */
  readonly length: number
  /** What far refused and may take later. */
  readonly refused: number
  /** Why far refused the first of what was to be sent since the queue was opened; trying again what was refused does not count. */
  readonly refusal: StoreError | undefined
}

const QUEUE_TABLE = 'write-back'
const REFUSED_TABLE = 'write-back-refused'

/** Throws `precondition` while another process has this queue open. */
export async function openWriteQueue(path: string, logger: Logger = silentLogger): Promise<WriteQueue> {
  await using opened = new AsyncDisposableStack()
  const table = opened.use(await openLmdbTable(path, QUEUE_TABLE))
  const refused = opened.use(await openLmdbTable(path, REFUSED_TABLE))
  // Another process would send what is noted here before near has it, find nothing, and forget it.
  opened.use(await holdExclusively(path))
  return new LmdbWriteQueue(table, new RefusedUploads(refused), opened.move(), logger)
}

export interface QueueState {
  readonly waiting: number
  readonly refused: number
  /** The first of them. */
  readonly examples: readonly RefusedUpload[]
}

/** What a queue holds, also while another process has it open. `undefined` when there is none yet. */
export async function readQueueState(path: string, examplesMax: number): Promise<QueueState | undefined> {
  await using table = await readLmdbTable(path, QUEUE_TABLE)
  if (!table) return undefined
  await using refused = await readLmdbTable(path, REFUSED_TABLE)
  return {
    waiting: table.count(),
    refused: refused?.count() ?? 0,
    examples: refused ? listRefused(refused, examplesMax) : [],
  }
}

const PAGE = 64
const KEY_BYTES = 8

class LmdbWriteQueue implements WriteQueue {
  readonly #table: LmdbTable
  readonly #refused: RefusedUploads
  readonly #opened: AsyncDisposableStack
  readonly #logger: Logger
  readonly #sends = new Map<QueuedKind, Send>()
  /** Keys that near does not have yet. */
  readonly #held = new Set<string>()
  readonly #closing = new AbortController()
  readonly #idle = new Set<() => void>()
  #next = 0n
  #length = 0
  #refusal: StoreError | undefined
  #running: Promise<void> | undefined
  /** Something became ready while it was running, perhaps after it had looked. */
  #isStale = false
  /** What was refused is tried again now. */
  #isRetrying = false
  /** Behind what the last such pass came to. */
  #retryAfter: Uint8Array | undefined
  /** What far took of this pass. */
  #accepted = 0
  #retryTimer: NodeJS.Timeout | undefined
  #retryMs = WRITE_BACK_REFUSED_MS_MIN

  constructor(table: LmdbTable, refused: RefusedUploads, opened: AsyncDisposableStack, logger: Logger) {
    this.#table = table
    this.#refused = refused
    this.#opened = opened
    this.#logger = logger
    for (let page = table.page(undefined, PAGE); page.length > 0; page = table.page(page.at(-1)!.key, PAGE)) {
      this.#length += page.length
      this.#next = sequenceOf(page.at(-1)!.key) + 1n
    }
    if (this.#length + refused.count > 0)
      logger.info({ queue: table.name, length: this.#length, refused: refused.count }, 'uploads are waiting')
  }

  get length(): number {
    return this.#length + (this.#isRetrying ? this.#refused.count : 0)
  }

  get refused(): number {
    return this.#refused.count
  }

  get refusal(): StoreError | undefined {
    return this.#refusal
  }

  register(kind: QueuedKind, send: Send): void {
    this.#sends.set(kind, send)
    // Perhaps what it was refused for has been seen to; that is what programs are started again for.
    this.#retry()
    this.#start()
  }

  async add(kind: QueuedKind, key: Uint8Array): Promise<() => void> {
    const sequence = Buffer.alloc(KEY_BYTES)
    sequence.writeBigUInt64BE(this.#next++)
    const id = sequence.toString('hex')
    this.#held.add(id)
    this.#length++
    try {
      await this.#table.put([{ key: sequence, value: encodeUpload(kind, key) }])
    } catch (error) {
      this.#length--
      this.#held.delete(id)
      throw error
    }
    return () => {
      this.#held.delete(id)
      this.#start()
    }
  }

  async drained(call?: Call): Promise<void> {
    while (this.length > 0) {
      throwIfAborted(call?.signal)
      await new Promise<void>((resolve) => {
        this.#idle.add(resolve)
        call?.signal?.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new StoreError('cancelled', 'the queue is closed'))
    clearTimeout(this.#retryTimer)
    await this.#running
    const left = this.#length + this.#refused.count
    if (left > 0)
      this.#logger.info(
        { queue: this.#table.name, length: this.#length, refused: this.#refused.count },
        'uploads are left; they go on when this is started again',
      )
    await this.#opened.disposeAsync()
  }

  #start(): void {
    this.#isStale = true
    if (this.#running || this.#closing.signal.aborted || this.length === 0) return
    this.#isStale = false
    this.#running = this.#drain().finally(() => {
      this.#running = undefined
      if (this.#isStale) this.#start()
    })
  }

  /** Until there is nothing that can be sent now. */
  async #drain(): Promise<void> {
    for (let wait = WRITE_BACK_RETRY_MS_MIN; !this.#closing.signal.aborted; ) {
      try {
        const wasSent = await this.#sendSome()
        const wasTried = this.#isRetrying && (await this.#retrySome())
        this.#tellIfIdle()
        if (!wasSent && !wasTried) return
        wait = WRITE_BACK_RETRY_MS_MIN
      } catch (error) {
        if (this.#closing.signal.aborted) return
        this.#logger.warn({ queue: this.#table.name, length: this.#length, err: error }, 'an upload failed')
        await pause(wait, this.#closing.signal).catch(() => {})
        wait = Math.min(wait * 2, WRITE_BACK_RETRY_MS_MAX)
      }
    }
  }

  #tellIfIdle(): void {
    if (this.length > 0) return
    for (const tell of this.#idle) tell()
    this.#idle.clear()
  }

  /** Sends what stands first, with all of its kind that follow. False when that has to wait. */
  async #sendSome(): Promise<boolean> {
    const batch = this.#firstOfOneKind(this.#table.page(undefined, PAGE))
    const send = batch[0] && this.#sends.get(kindOf(batch[0].value))
    if (!send) return false
    for await (const { entry, refusal } of this.#sendAll(send, batch, ({ value }) => value)) {
      // Set aside before it leaves the line: nothing that refers to it may pass it.
      if (refusal) await this.#setAside(entry.value, refusal)
      // What refers to it may go now.
      else if (await this.#refused.remove(entry.value)) this.#retry()
      await this.#table.remove([entry.key])
      this.#length--
    }
    return true
  }

  #firstOfOneKind(page: readonly LmdbEntry[]): LmdbEntry[] {
    const batch: LmdbEntry[] = []
    for (const entry of page) {
      const isHeld = this.#held.has(Buffer.from(entry.key).toString('hex'))
      if (isHeld || kindOf(entry.value) !== kindOf(page[0]!.value)) break
      batch.push(entry)
    }
    return batch
  }

  async #setAside(upload: Uint8Array, refusal: StoreError): Promise<void> {
    const isNew = await this.#refused.add(upload, refusal)
    this.#refusal ??= withContext(uploadName(kindOf(upload), keyOf(upload)), refusal)
    if (!isNew) return
    // One of many: when far refuses everything there are as many as there are objects.
    if (this.#refused.count === 1 || this.#refused.count % PAGE === 0)
      this.#logger.warn(
        { queue: this.#table.name, refused: this.#refused.count, err: refusal },
        'an upload was refused; it is kept, with all that refers to it, and tried again now and then',
      )
    if (!this.#isRetrying) this.#retryTimer ??= this.#retryLater()
  }

  #retry(): void {
    clearTimeout(this.#retryTimer)
    this.#retryTimer = undefined
    this.#isRetrying = this.#refused.count > 0
  }

  #retryLater(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#retry()
      this.#start()
    }, this.#retryMs)
    return timer.unref()
  }

  /** Tries some of what was refused again. False at the end of the pass. */
  async #retrySome(): Promise<boolean> {
    const page = this.#refused.page(this.#retryAfter, PAGE)
    const batch = page.filter((upload) => kindOf(upload) === kindOf(page[0]!))
    if (batch.length === 0) return this.#endRetry()
    this.#retryAfter = batch.at(-1)
    const send = this.#sends.get(kindOf(batch[0]!))
    if (!send) return true
    let accepted = 0
    for await (const { entry, refusal } of this.#sendAll(send, batch, (upload) => upload)) {
      if (refusal) await this.#refused.add(entry, refusal)
      else if (await this.#refused.remove(entry)) accepted++
    }
    this.#accepted += accepted
    // Perhaps far refuses everything: the next pass goes on behind these.
    if (accepted === 0 && batch.length === PAGE) this.#pauseRetry()
    return this.#isRetrying
  }

  /** Begins another pass at once when this one got something across: what refers to that may stand before it. */
  #endRetry(): boolean {
    const hasHelped = this.#accepted > 0
    this.#accepted = 0
    this.#retryAfter = undefined
    if (hasHelped) this.#retryMs = WRITE_BACK_REFUSED_MS_MIN
    if (hasHelped && this.#refused.count > 0) return true
    this.#pauseRetry()
    return false
  }

  #pauseRetry(): void {
    this.#isRetrying = false
    if (this.#refused.count === 0) return
    this.#retryTimer ??= this.#retryLater()
    this.#retryMs = Math.min(this.#retryMs * 2, WRITE_BACK_REFUSED_MS_MAX)
  }

  /** What far refuses is told of instead of thrown; what may succeed the next moment is thrown. */
  #sendAll<T>(
    send: Send,
    batch: readonly T[],
    uploadOf: (entry: T) => Uint8Array,
  ): AsyncGenerator<{ readonly entry: T; readonly refusal?: StoreError }> {
    const work = async (entry: T, call: Call) => {
      const upload = uploadOf(entry)
      try {
        await send(keyOf(upload), call, this.#refused.check)
        return { entry }
      } catch (error) {
        throwIfAborted(call.signal)
        if (isRetryable(error)) throw error
        return { entry, refusal: StoreError.from(error) }
      }
    }
    // A path info may refer to the one before it.
    const isOrdered = batch[0] !== undefined && kindOf(uploadOf(batch[0])) === 'pathInfo'
    const width = isOrdered ? 1 : WRITE_BACK_UPLOADS_MAX
    return mapConcurrent(batch, width, work, { signal: this.#closing.signal })
  }
}

function sequenceOf(key: Uint8Array): bigint {
  return Buffer.from(key).readBigUInt64BE()
}
