import {
  FSYNCS_MAX,
  SYNC_TOGETHER_MIN,
  SYNC_TOGETHER_UNWRITTEN_BYTES_EACH,
  SYNC_TOGETHER_UNWRITTEN_BYTES_MIN,
} from '../../support/limits.ts'
import type { FileOps } from './file-ops.ts'

interface Request {
  /** Makes durable what it is about, and nothing else. */
  readonly sync: () => Promise<void>
  readonly done: PromiseWithResolvers<void>
  /** How many files it stands for. */
  readonly weight: number
}

/**
 * Makes files and folders' entries durable. A few are synced one by one, side by side, and at once; when more wait,
 * one syncfs(2) does for all of them, and who comes meanwhile forms the next group. A journal commits everything in
 * any case: with syncfs it does so once a group instead of once a file.
 *
 * syncfs also writes what other programs left in memory. So it is used only while that is little for those who wait.
 */
export class DiskSync {
  readonly #root: string
  readonly #ops: FileOps
  readonly #maySyncTogether: boolean
  /** By descriptor or folder: who asks for a folder that waits already shares its sync. */
  #waiting = new Map<number | string | symbol, Request>()
  #single = 0
  #isTogether = false
  #users = 0
  #rootFd = -1

  /** `root`: an existing folder of the file system. `maySyncTogether`: whether its syncfs may be relied on. */
  constructor(root: string, ops: FileOps, maySyncTogether: boolean) {
    this.#root = root
    this.#ops = ops
    this.#maySyncTogether = maySyncTogether
  }

  /**
   * Whoever writes and then syncs does both within `work`: the descriptor that syncfs is called on was then open
   * before they wrote, and syncfs reports every failure to write since.
   */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#maySyncTogether) return await work()
    if (this.#users === 0) this.#rootFd = this.#ops.openFolder(this.#root)
    this.#users++
    try {
      return await work()
    } finally {
      if (--this.#users === 0) this.#ops.close(this.#rootFd)
    }
  }

  /** Resolves once what was written to this open file is durable. */
  file(fd: number): Promise<void> {
    return this.#request(fd, () => this.#ops.fsync(fd))
  }

  /** Resolves once everything that was in `folder` when it was called is durable there. */
  folder(folder: string): Promise<void> {
    return this.#request(folder, async () => {
      const fd = this.#ops.openFolder(folder)
      try {
        await this.#ops.fsync(fd)
      } finally {
        this.#ops.close(fd)
      }
    })
  }

  /** Whether so many files, and what waits already, would be synced together now. */
  isWorthwhile(count: number): boolean {
    if (!this.#maySyncTogether) return false
    let weight = count
    for (const request of this.#waiting.values()) weight += request.weight
    if (weight < SYNC_TOGETHER_MIN) return false
    const unwritten = this.#ops.unwrittenBytes()
    return (
      unwritten <= Math.max(SYNC_TOGETHER_UNWRITTEN_BYTES_MIN, weight * SYNC_TOGETHER_UNWRITTEN_BYTES_EACH)
    )
  }

  /**
   * Resolves with true once everything that was written before the call is durable: `count` files, of which nobody
   * can tell which was lost. With false where that cannot be had or failed: then they have to be synced one by one.
   */
  async everything(count: number): Promise<boolean> {
    const notTogether = new Error('not synced together')
    try {
      await this.#request(Symbol(), () => Promise.reject(notTogether), count)
      return true
    } catch (error) {
      if (error !== notTogether) throw error
      return false
    }
  }

  #request(key: number | string | symbol, sync: () => Promise<void>, weight = 1): Promise<void> {
    const same = this.#waiting.get(key)
    if (same) return same.done.promise
    const request = { sync, done: Promise.withResolvers<void>(), weight }
    this.#waiting.set(key, request)
    this.#startSome()
    return request.done.promise
  }

  #startSome(): void {
    if (this.#isTogether) return
    if (this.isWorthwhile(0)) {
      void this.#syncTogether()
      return
    }
    for (const [key, request] of this.#waiting) {
      if (this.#single === FSYNCS_MAX) return
      this.#waiting.delete(key)
      void this.#syncSingle(request)
    }
  }

  async #syncSingle(request: Request): Promise<void> {
    this.#single++
    await settle(request)
    this.#single--
    this.#startSome()
  }

  async #syncTogether(): Promise<void> {
    const group = [...this.#waiting.values()]
    this.#waiting = new Map()
    this.#isTogether = true
    try {
      await this.#ops.syncFileSystem(this.#rootFd)
      for (const { done } of group) done.resolve()
    } catch {
      // It does not say whose bytes were lost, perhaps those of another program: each file knows its own failure.
      for (const request of group) await settle(request)
    }
    this.#isTogether = false
    this.#startSome()
  }
}

function settle({ sync, done }: Request): Promise<void> {
  return sync().then(done.resolve, done.reject)
}
