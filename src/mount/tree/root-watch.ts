import type { Node } from '../../model/castore/node.ts'
import type { RootNodes } from '../../services/pathinfos/root-nodes.ts'
import { withDeadline } from '../../support/call.ts'
import { monotonicMs } from '../../support/clock.ts'
import { mapConcurrent } from '../../support/concurrency.ts'
import {
  MOUNT_CALL_MS_MAX,
  ROOT_CHECK_PAUSE_MS_MIN,
  ROOT_CHECK_SHARE,
  ROOT_CHECKS_AT_ONCE_MAX,
} from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { InodeTable } from './inode-table.ts'
import type { InodeNumber } from './interface.ts'
import type { RootNames } from './root-names.ts'

export interface RootWatchOptions {
  readonly rootNodes: Pick<RootNodes, 'get'>
  readonly names: RootNames
  readonly inodes: InodeTable
  /** The name does not stand for that inode any more: whoever looks it up shall ask again. */
  readonly gone: (name: Uint8Array) => void
  readonly logger: Logger
  /** Ends what runs in the background. */
  readonly closing: AbortSignal
}

/**
 * The kernel keeps the store paths that it was told of for ever, and so do we. Paths are removed, though (by garbage
 * collection), and replaced (built again with other contents): so all that are known are looked up again, over and over,
 * slowly. Nobody waits for this. Who has something open reads on.
 */
export class RootWatch {
  readonly #options: RootWatchOptions
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined

  constructor(options: RootWatchOptions) {
    this.#options = options
    options.closing.addEventListener('abort', () => clearTimeout(this.#timer), { once: true })
    this.#schedule(ROOT_CHECK_PAUSE_MS_MIN)
  }

  /** Resolves when all that were known when it was called were looked up. */
  async checkNow(): Promise<void> {
    await this.#round
    await this.#run()
  }

  #schedule(ms: number): void {
    const { closing } = this.#options
    clearTimeout(this.#timer)
    if (closing.aborted) return
    this.#timer = setTimeout(() => void this.#run(), ms)
    this.#timer.unref()
  }

  /** A round that took long is followed by a long pause: it takes a fixed share of the time, however many there are. */
  #run(): Promise<void> {
    const began = monotonicMs()
    this.#round ??= this.#checkAll().finally(() => {
      this.#round = undefined
      const took = monotonicMs() - began
      this.#schedule(Math.max(ROOT_CHECK_PAUSE_MS_MIN, took / ROOT_CHECK_SHARE))
    })
    return this.#round
  }

  async #checkAll(): Promise<void> {
    const { names, closing, logger } = this.#options
    const checked = mapConcurrent(names.known(), ROOT_CHECKS_AT_ONCE_MAX, (name) => this.#check(name), {
      signal: closing,
    })
    try {
      for await (const _ of checked);
    } catch (error) {
      if (!closing.aborted) logger.warn({ err: error }, 'looking for store paths that are gone failed')
    }
  }

  async #check(name: Uint8Array): Promise<void> {
    const { rootNodes, names, inodes, gone, logger, closing } = this.#options
    // What answers at once must not keep the event loop.
    await new Promise((resolve) => setImmediate(resolve))
    const inode = names.get(name)
    if (inode === undefined) return
    using call = withDeadline({ signal: closing }, MOUNT_CALL_MS_MAX, 'looking a store path up again')
    let node: Node | undefined
    try {
      node = await rootNodes.get(name, call)
    } catch (error) {
      // Nobody said that it is gone.
      logger.debug({ err: error }, 'a store path cannot be looked up again')
      return
    }
    // Meanwhile the kernel may have forgotten it.
    if (names.get(name) !== inode || (node && isStill(inodes, inode, node))) return
    names.drop(name)
    logger.info(
      { path: Buffer.from(name).toString('latin1') },
      node ? 'a store path has other contents now' : 'a store path is gone',
    )
    gone(name)
  }
}

function isStill(inodes: InodeTable, inode: InodeNumber, node: Node): boolean {
  const { kind, size, executable } = inodes.attributes(inode)
  if (node.kind !== kind) return false
  if (node.kind === 'symlink') return Buffer.compare(inodes.target(inode), node.target) === 0
  if (node.size !== size || !inodes.digest(inode).equals(node.digest)) return false
  return node.kind === 'directory' || node.executable === executable
}
