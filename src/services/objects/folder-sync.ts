import type { FileOps } from './file-ops.ts'

interface Sync {
  readonly running: Promise<void>
  next: Promise<void> | undefined
}

/**
 * Makes folders' entries durable with fsync. Who asks while a sync of the same folder runs shares the next one,
 * as the running one may have begun before the caller's rename: many puts into one folder cost few syncs.
 */
export class FolderSync {
  readonly #ops: FileOps
  readonly #syncs = new Map<string, Sync>()

  constructor(ops: FileOps) {
    this.#ops = ops
  }

  /** Resolves once everything that was in `folder` when it was called is durable there. */
  sync(folder: string): Promise<void> {
    const current = this.#syncs.get(folder)
    if (!current) return this.#start(folder)
    current.next ??= current.running.catch(() => {}).then(() => this.#start(folder))
    return current.next
  }

  #start(folder: string): Promise<void> {
    const sync: Sync = { running: this.#fsync(folder), next: undefined }
    this.#syncs.set(folder, sync)
    const finished = () => {
      if (!sync.next) this.#syncs.delete(folder)
    }
    sync.running.then(finished, finished)
    return sync.running
  }

  async #fsync(folder: string): Promise<void> {
    const fd = this.#ops.openFolder(folder)
    try {
      await this.#ops.fsync(fd)
    } finally {
      this.#ops.close(fd)
    }
  }
}
