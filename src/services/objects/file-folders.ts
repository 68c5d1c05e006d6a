import { dirname } from 'node:path'
import { systemCode } from '../../support/errors.ts'
import type { DiskSync } from './disk-sync.ts'
import type { FileOps } from './file-ops.ts'

/** A folder that is there. Its entry in the folder above is durable when a put that needed it resolved. */
interface Folder {
  readonly created: Promise<void>
  isDurable: boolean
}

/** The folders below the root of a store: each is created once, and its entry made durable with the first object in it. */
export class FileFolders {
  readonly #root: string
  readonly #ops: FileOps
  readonly #sync: DiskSync
  /** Grows with the fan-out, not with the store. */
  readonly #folders = new Map<string, Folder>()

  constructor(root: string, ops: FileOps, sync: DiskSync) {
    this.#root = root
    this.#ops = ops
    this.#sync = sync
    this.forget()
  }

  /** Creates a folder and those above it; their entries need not be durable yet. */
  ensure(folder: string): Promise<void> {
    const known = this.#folders.get(folder)
    if (known) return known.created
    const created = this.#create(folder)
    this.#folders.set(folder, { created, isDurable: false })
    created.catch(() => this.#folders.delete(folder))
    return created
  }

  async #create(folder: string): Promise<void> {
    await this.ensure(dirname(folder))
    await this.#ops.mkdir(folder).catch((error) => {
      if (systemCode(error) !== 'EEXIST') throw error
    })
  }

  /** Somebody else made the folders that a file is in. */
  note(path: string, isNew: boolean): void {
    for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder)) {
      const known = this.#folders.get(folder)
      if (!known) this.#folders.set(folder, { created: Promise.resolve(), isDurable: false })
      else if (isNew) known.isDurable = false
      else break
    }
  }

  /**
   * Makes a name durable, and those of the folders above it that may not be: one of our puts has just created them,
   * or another process that may have been killed before this step.
   */
  async syncEntry(path: string): Promise<void> {
    const synced = [this.#sync.folder(dirname(path))]
    const made: Folder[] = []
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      const known = this.#folders.get(folder)
      if (!known || known.isDurable) break
      made.push(known)
      synced.push(this.#sync.folder(dirname(folder)))
    }
    const failed = (await Promise.allSettled(synced)).find(({ status }) => status === 'rejected')
    if (failed) throw (failed as PromiseRejectedResult).reason
    for (const folder of made) folder.isDurable = true
  }

  /** At first, and when somebody removed folders below us: look again the next time, so that no restart is needed. */
  forget(): void {
    this.#folders.clear()
    this.#folders.set(this.#root, { created: Promise.resolve(), isDurable: true })
  }
}
