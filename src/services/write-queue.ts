import { type Call, throwIfAborted } from '../support/call.ts'
import { mapConcurrent } from '../support/concurrency.ts'
import { StoreError } from '../support/errors.ts'
import {
  WRITE_BACK_RETRY_MS_MAX,
  WRITE_BACK_RETRY_MS_MIN,
  WRITE_BACK_UPLOADS_MAX,
} from '../support/limits.ts'
import { type Logger, silentLogger } from '../support/log.ts'
import { pause } from '../support/pause.ts'
import { holdExclusively } from './exclusive.ts'
import { type LmdbEntry, type LmdbTable, openLmdbTable } from './lmdb-table.ts'

/** What is to be sent; in this order within one import, so that far never refers to what it does not have. */
export type QueuedKind = 'blob' | 'directory' | 'pathInfo'

const KIND_BYTES: Readonly<Record<QueuedKind, number>> = { blob: 1, directory: 2, pathInfo: 3 }
const KINDS = new Map(Object.entries(KIND_BYTES).map(([kind, byte]) => [byte, kind as QueuedKind]))

/** Sends what `key` stands for from near to far. Called again until it succeeds; what is gone near is no failure. */
export type Send = (key: Uint8Array, call: Call) => Promise<void>

/**
 * What is still to be sent to a far side, in an LMDB file, so that it survives this process. Everything is sent in
 * the order in which it was added (blobs that follow each other, side by side), again and again until far takes it.
 */
export interface WriteQueue extends AsyncDisposable {
  /** How a kind is sent; nothing of that kind, or behind it, is sent before. */
  register(kind: QueuedKind, send: Send): void
  /**
   * Resolves when it is durably noted that `key` is to be sent. It is not sent before the result is called, which
   * says that near has it now (or never will).
   */
  add(kind: QueuedKind, key: Uint8Array): Promise<() => void>
  /** Resolves when everything was sent; rejects when the call is aborted. */
  drained(call?: Call): Promise<void>
  /** What waits to be sent. */
  readonly length: number
}

/** Throws `precondition` while another process has this queue open. */
export async function openWriteQueue(path: string, logger: Logger = silentLogger): Promise<WriteQueue> {
  await using opened = new AsyncDisposableStack()
  const table = opened.use(await openLmdbTable(path, 'write-back'))
  // Another process would send what is noted here before near has it, find nothing, and forget it.
  opened.use(await holdExclusively(path))
  return new LmdbWriteQueue(table, opened.move(), logger)
}

const PAGE = 64
const KEY_BYTES = 8

class LmdbWriteQueue implements WriteQueue {
  readonly #table: LmdbTable
  readonly #opened: AsyncDisposableStack
  readonly #logger: Logger
  readonly #sends = new Map<QueuedKind, Send>()
  /** Keys that near does not have yet. */
  readonly #held = new Set<string>()
  readonly #closing = new AbortController()
  readonly #idle = new Set<() => void>()
  #next = 0n
  #length = 0
  #running: Promise<void> | undefined
  /** Something became ready while it was running, perhaps after it had looked. */
  #isStale = false

  constructor(table: LmdbTable, opened: AsyncDisposableStack, logger: Logger) {
    this.#table = table
    this.#opened = opened
    this.#logger = logger
    for (let page = table.page(undefined, PAGE); page.length > 0; page = table.page(page.at(-1)!.key, PAGE)) {
      this.#length += page.length
      this.#next = sequenceOf(page.at(-1)!.key) + 1n
    }
    if (this.#length > 0) logger.info({ queue: table.name, length: this.#length }, 'uploads are waiting')
  }

  get length(): number {
    return this.#length
  }

  register(kind: QueuedKind, send: Send): void {
    this.#sends.set(kind, send)
    this.#start()
  }

  async add(kind: QueuedKind, key: Uint8Array): Promise<() => void> {
    const sequence = Buffer.alloc(KEY_BYTES)
    sequence.writeBigUInt64BE(this.#next++)
    const id = sequence.toString('hex')
    this.#held.add(id)
    this.#length++
    try {
      await this.#table.put([{ key: sequence, value: Buffer.concat([Buffer.of(KIND_BYTES[kind]), key]) }])
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
    while (this.#length > 0) {
      throwIfAborted(call?.signal)
      await new Promise<void>((resolve) => {
        this.#idle.add(resolve)
        call?.signal?.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new StoreError('cancelled', 'the queue is closed'))
    await this.#running
    if (this.#length > 0)
      this.#logger.info(
        { queue: this.#table.name, length: this.#length },
        'uploads are left; they go on when this is started again',
      )
    await this.#opened.disposeAsync()
  }

  #start(): void {
    this.#isStale = true
    if (this.#running || this.#closing.signal.aborted || this.#length === 0) return
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
        if (!(await this.#sendSome())) return
        wait = WRITE_BACK_RETRY_MS_MIN
      } catch (error) {
        if (this.#closing.signal.aborted) return
        this.#logger.warn({ queue: this.#table.name, length: this.#length, err: error }, 'an upload failed')
        await pause(wait, this.#closing.signal).catch(() => {})
        wait = Math.min(wait * 2, WRITE_BACK_RETRY_MS_MAX)
      }
    }
  }

  /** Sends what stands first, with all of its kind that follow. False when that has to wait. */
  async #sendSome(): Promise<boolean> {
    const page = this.#table.page(undefined, PAGE)
    const batch = this.#firstOfOneKind(page)
    const send = batch[0] && this.#sends.get(kindOf(batch[0]))
    if (!send) return false
    const call = { signal: this.#closing.signal }
    const work = async (entry: LmdbEntry, inner: Call) => {
      await send(entry.value.subarray(1), inner)
      return entry.key
    }
    for await (const key of mapConcurrent(batch, WRITE_BACK_UPLOADS_MAX, work, call)) {
      await this.#table.remove([key])
      this.#length--
      if (this.#length > 0) continue
      for (const tell of this.#idle) tell()
      this.#idle.clear()
    }
    return true
  }

  #firstOfOneKind(page: readonly LmdbEntry[]): LmdbEntry[] {
    const batch: LmdbEntry[] = []
    for (const entry of page) {
      const isHeld = this.#held.has(Buffer.from(entry.key).toString('hex'))
      if (isHeld || kindOf(entry) !== kindOf(page[0]!)) break
      batch.push(entry)
    }
    return batch
  }
}

function sequenceOf(key: Uint8Array): bigint {
  return Buffer.from(key).readBigUInt64BE()
}

function kindOf({ value }: LmdbEntry): QueuedKind {
  const kind = KINDS.get(value[0]!)
  if (!kind)
    throw new StoreError('corrupt', `a queue of uploads has an entry of the unknown kind ${value[0]}`)
  return kind
}
