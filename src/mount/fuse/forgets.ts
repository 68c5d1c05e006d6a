import type { Logger } from '../../support/log.ts'
import type { Tree } from '../tree/interface.ts'
import { BATCH_FORGET_IN, FORGET_IN, FORGET_ONE } from './protocol.ts'
import type { Request } from './request.ts'

/** References that the kernel gives back. There is no reply: a failure can only be logged. */
export class Forgets {
  readonly #tree: Tree
  readonly #logger: Logger

  constructor(tree: Tree, logger: Logger) {
    this.#tree = tree
    this.#logger = logger
  }

  /** FORGET */
  one(request: Request): void {
    if (request.bodyLength < FORGET_IN.bytes) return
    this.#takeBack(request.nodeid, request.u64(FORGET_IN.nlookup))
  }

  /** BATCH_FORGET */
  many(request: Request): void {
    if (request.bodyLength < BATCH_FORGET_IN.bytes) return
    const room = Math.floor((request.bodyLength - BATCH_FORGET_IN.bytes) / FORGET_ONE.bytes)
    const count = Math.min(request.u32(BATCH_FORGET_IN.count), room)
    for (let i = 0; i < count; i++) {
      const at = BATCH_FORGET_IN.bytes + i * FORGET_ONE.bytes
      this.#takeBack(request.u64(at + FORGET_ONE.nodeid), request.u64(at + FORGET_ONE.nlookup))
    }
  }

  #takeBack(inode: number, references: number): void {
    try {
      this.#tree.forget(inode, references)
    } catch (error) {
      this.#logger.error({ inode, error }, 'forgetting an inode failed')
    }
  }
}
