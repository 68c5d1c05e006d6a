import { equalBytes, hex } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import { PATH_INFO_LIST_PAGE } from '../../support/limits.ts'
import { type LmdbTable, openLmdbTable } from '../lmdb-table.ts'
import { decodeNar, decodePending, encodeNar, encodePending, pendingKey } from './codec.ts'
import type { NarIndex, PendingNarInfo, UploadedNar } from './interface.ts'
import { PENDING_LIMITS, PendingBudget, type PendingLimits } from './pending-budget.ts'

/** In an LMDB file, so that uploads go on after a restart, and in another process on the same machine. */
export async function openLmdbNarIndex(
  path: string,
  limits: PendingLimits = PENDING_LIMITS,
): Promise<NarIndex> {
  const nars = await openLmdbTable(path, 'nars')
  const pending = await openLmdbTable(path, 'pending')
  const index = new LmdbNarIndex(nars, pending, limits)
  await index.count()
  return index
}

class LmdbNarIndex implements NarIndex {
  readonly #nars: LmdbTable
  readonly #pending: LmdbTable
  readonly #budget: PendingBudget

  constructor(nars: LmdbTable, pending: LmdbTable, limits: PendingLimits) {
    this.#nars = nars
    this.#pending = pending
    this.#budget = new PendingBudget(limits)
  }

  /** What waits from before; it had its place then, whatever the limits are now. */
  async count(): Promise<void> {
    for await (const pending of this.listPending()) this.#budget.restore(pending)
  }

  async get(fileSha256: Uint8Array, call?: Call): Promise<UploadedNar | undefined> {
    throwIfAborted(call?.signal)
    const bytes = this.#nars.get(fileSha256)
    return bytes && this.#decoded(fileSha256, () => decodeNar(bytes))
  }

  async put(fileSha256: Uint8Array, nar: UploadedNar, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    await this.#nars.put([{ key: fileSha256, value: encodeNar(nar) }])
  }

  async addPending(pending: PendingNarInfo, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    const key = pendingKey(pending)
    const previous = this.#pending.get(key)
    this.#budget.take(pending, previous && decodePending(key, previous))
    await this.#pending.put([{ key, value: encodePending(pending) }])
  }

  async pendingOf(fileSha256: Uint8Array, call?: Call): Promise<readonly PendingNarInfo[]> {
    const found: PendingNarInfo[] = []
    for await (const pending of this.#from(fileSha256, call)) {
      if (!equalBytes(pending.awaited, fileSha256)) break
      found.push(pending)
    }
    return found
  }

  listPending(call?: Call): AsyncIterable<PendingNarInfo> {
    return this.#from(undefined, call)
  }

  async removePending(pending: PendingNarInfo, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    const key = pendingKey(pending)
    const current = this.#pending.get(key)
    if (!current) return
    this.#budget.giveBack(decodePending(key, current))
    await this.#pending.remove([key])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pending[Symbol.asyncDispose]()
    await this.#nars[Symbol.asyncDispose]()
  }

  async *#from(start: Uint8Array | undefined, call: Call | undefined): AsyncGenerator<PendingNarInfo> {
    let previous = start
    for (;;) {
      throwIfAborted(call?.signal)
      const page = this.#pending.page(previous, PATH_INFO_LIST_PAGE)
      for (const { key, value } of page) yield this.#decoded(key, () => decodePending(key, value))
      if (page.length < PATH_INFO_LIST_PAGE) return
      previous = page.at(-1)!.key
    }
  }

  #decoded<T>(key: Uint8Array, decode: () => T): T {
    try {
      return decode()
    } catch (error) {
      const { message } = withContext(`${this.#nars.name}: entry ${hex(key)} does not decode`, error)
      throw new StoreError('corrupt', message, { cause: error })
    }
  }
}
