import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { Logger } from '../../support/log.ts'
import type { InodeNumber, Tree } from '../tree/interface.ts'
import type { FuseDevice } from './device.ts'

/** How a file was opened. */
export interface OpenedFile {
  readonly inode: InodeNumber
  /** The kernel reads it by itself; 0: it asks us, and keeps what it got. */
  readonly backingId: number
}

interface OpenFile {
  readonly opened: Promise<OpenedFile>
  /** How often it is open, or about to be. */
  opens: number
}

/**
 * Which files are open, and which of them the kernel reads by itself (passthrough). The kernel lets an inode be one or the
 * other, and with one backing file only, as long as it is open anywhere: another answer is EIO for the program that
 * opens it (fs/fuse/iomode.c). So the first open decides until the last one is released.
 */
export class OpenFiles {
  readonly #device: FuseDevice
  readonly #tree: Tree
  readonly #logger: Logger
  readonly #files = new Map<InodeNumber, OpenFile>()

  constructor(device: FuseDevice, tree: Tree, logger: Logger) {
    this.#device = device
    this.#tree = tree
    this.#logger = logger
  }

  get count(): number {
    return this.#files.size
  }

  /** Each answer that the kernel got is to be released. */
  open(inode: InodeNumber, call: Call): Promise<OpenedFile> {
    const known = this.#files.get(inode)
    if (known) {
      known.opens++
      return known.opened
    }
    const opened = this.#back(inode, call).then((backingId) => ({ inode, backingId }))
    this.#files.set(inode, { opened, opens: 1 })
    return opened
  }

  async release(inode: InodeNumber): Promise<void> {
    const file = this.#files.get(inode)
    if (!file || --file.opens > 0) return
    this.#files.delete(inode)
    const { backingId } = await file.opened
    if (backingId > 0) this.#device.closeBacking?.(backingId)
  }

  /** Whatever fails here, the file can be read by asking. */
  async #back(inode: InodeNumber, call: Call): Promise<number> {
    try {
      const file = await this.#tree.localFile?.(inode, call)
      if (!file) return 0
      try {
        return this.#device.openBacking?.(file.fd) ?? 0
      } finally {
        // The kernel has a descriptor of its own, and who opened the file does not wait for the end of ours.
        file[Symbol.asyncDispose]().then(undefined, (error) => this.#logFailure(inode, error))
      }
    } catch (error) {
      this.#logFailure(inode, error)
      return 0
    }
  }

  #logFailure(inode: InodeNumber, error: unknown): void {
    const { code, message } = StoreError.from(error)
    this.#logger.debug({ inode, code, reason: message }, 'a file is not passed through')
  }
}
