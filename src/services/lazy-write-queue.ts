import type { Call } from '../support/call.ts'
import type { StoreError } from '../support/errors.ts'
import type { QueuedKind } from './queued-upload.ts'
import type { Send, WriteQueue } from './write-queue.ts'

/**
 * A queue that is opened by `open`, or by the first write: only one process can have it, and those that only read must not be in
 * the way of the one that writes, nor it in theirs.
 */
export class LazyWriteQueue implements WriteQueue {
  readonly #openIt: () => Promise<WriteQueue>
  readonly #sends = new Map<QueuedKind, Send>()
  #opening: Promise<WriteQueue> | undefined
  #opened: WriteQueue | undefined

  constructor(openIt: () => Promise<WriteQueue>) {
    this.#openIt = openIt
  }

  get length(): number {
    return this.#opened?.length ?? 0
  }

  get refused(): number {
    return this.#opened?.refused ?? 0
  }

  get refusal(): StoreError | undefined {
    return this.#opened?.refusal
  }

  /** Goes on with what is left in it. Throws as `openWriteQueue`, and may be tried again. */
  async open(): Promise<WriteQueue> {
    this.#opening ??= this.#start().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return await this.#opening
  }

  async #start(): Promise<WriteQueue> {
    const queue = await this.#openIt()
    for (const [kind, send] of this.#sends) queue.register(kind, send)
    this.#opened = queue
    return queue
  }

  register(kind: QueuedKind, send: Send): void {
    this.#sends.set(kind, send)
    this.#opened?.register(kind, send)
  }

  async add(kind: QueuedKind, key: Uint8Array): Promise<() => void> {
    return await (await this.open()).add(kind, key)
  }

  async drained(call?: Call): Promise<void> {
    await this.#opened?.drained(call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await this.#opening?.catch(() => undefined)
    await opened?.[Symbol.asyncDispose]()
  }
}
