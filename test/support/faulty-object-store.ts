import type { ObjectStore } from '../../src/services/objects/interface.ts'
import type { Call } from '../../src/support/call.ts'
import { type ErrorCode, StoreError } from '../../src/support/errors.ts'

/**
 * What goes wrong with one call. `fail`: it is unavailable, and nothing was done. `fail-late`: a put was done, but its
 * answer is lost. `hang`: no answer until the deadline. `truncate`: half of the bytes are read, or stored. `flip`: one
 * bit of what is read or stored is another. `pretend`: a put that did nothing, a head that finds what is not there.
 */
export type Effect = 'fail' | 'fail-late' | 'hang' | 'truncate' | 'flip' | 'pretend'

/** A failure is told as what it is; anything else is a bug of ours. */
export const TOLD_AS: Readonly<Record<Effect, readonly ErrorCode[]>> = {
  fail: ['unavailable'],
  'fail-late': ['unavailable'],
  hang: ['deadline'],
  truncate: ['corrupt'],
  flip: ['corrupt'],
  pretend: ['corrupt'],
}

/** The `nth` call (from 1) goes wrong; data, so that it can be printed. */
export interface Plan {
  readonly nth: number
  readonly effect: Effect
}

/** What a scenario does to its store, counted, with one call going wrong. */
export class FaultyObjectStore implements ObjectStore {
  readonly name: string
  readonly #base: ObjectStore
  readonly #plan: Plan
  /** Stands for the deadline of whoever calls: it passes as soon as a call hangs. */
  readonly #deadline: AbortController
  calls = 0
  open = 0
  wentWrong = false

  constructor(base: ObjectStore, plan: Plan, deadline: AbortController) {
    this.name = base.name
    this.#base = base
    this.#plan = plan
    this.#deadline = deadline
  }

  get(key: string, call?: Parameters<ObjectStore['get']>[1]): Promise<Uint8Array | undefined> {
    return this.#count(call, (effect) => this.#get(effect, key, call))
  }

  head(key: string, call?: Call): Promise<number | undefined> {
    return this.#count(call, async (effect) => {
      const size = await this.#base.head(key, call)
      return effect === 'pretend' ? (size ?? 1) : size
    })
  }

  put(key: string, body: Uint8Array, call?: Parameters<ObjectStore['put']>[2]): Promise<void> {
    return this.#count(call, async (effect) => {
      if (effect !== 'pretend') await this.#base.put(key, damaged(effect, body), call)
      if (effect === 'fail-late') throw unavailable()
    })
  }

  async *list(prefix: string, call?: Call): AsyncGenerator<string> {
    await this.#count(call, async () => {})
    yield* this.#base.list(prefix, call)
  }

  delete(key: string, call?: Call): Promise<void> {
    return this.#count(call, async () => await this.#base.delete(key, call))
  }

  async #get(effect: Effect | undefined, key: string, call: Parameters<ObjectStore['get']>[1]) {
    const found = await this.#base.get(key, call)
    if (effect === 'fail-late') throw unavailable()
    return found && damaged(effect, found)
  }

  async #count<T>(call: Call | undefined, work: (effect: Effect | undefined) => Promise<T>): Promise<T> {
    const isIt = ++this.calls === this.#plan.nth
    const effect = isIt ? this.#plan.effect : undefined
    this.wentWrong ||= isIt
    this.open++
    try {
      // As a network would: nobody is answered at once.
      await new Promise((resolve) => setImmediate(resolve))
      if (effect === 'fail') throw unavailable()
      if (effect === 'hang') await this.#hang(call?.signal)
      return await work(effect)
    } finally {
      this.open--
    }
  }

  #hang(signal: AbortSignal | undefined): Promise<never> {
    if (!signal) throw new Error('a call without a signal would hang for ever')
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(StoreError.from(signal.reason)), { once: true })
      this.#deadline.abort(new StoreError('deadline', 'the deadline of the test passed'))
    })
  }
}

function unavailable(): StoreError {
  return new StoreError('unavailable', 'the test makes this call fail')
}

function damaged(effect: Effect | undefined, bytes: Uint8Array): Uint8Array {
  if (effect === 'truncate') return bytes.slice(0, bytes.length >>> 1)
  if (effect !== 'flip' || bytes.length === 0) return bytes
  const copy = Uint8Array.from(bytes)
  copy[copy.length >>> 1]! ^= 1
  return copy
}
