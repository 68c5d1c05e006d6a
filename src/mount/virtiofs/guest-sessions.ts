import { FuseSession, type SessionOptions } from '../fuse/session.ts'
import type { Tree } from '../tree/interface.ts'
import { GuestChannel } from './guest-channel.ts'
import { GuestFault } from './guest-fault.ts'
import type { GuestQueues } from './guest-queues.ts'
import { GuestTree } from './guest-tree.ts'

/** One FUSE session: from a guest's INIT to its next one. */
interface Session {
  readonly fuse: FuseSession
  readonly channel: GuestChannel
  readonly tree: GuestTree
}

/** The sessions of one guest, one after the other: one that mounts again knows nothing of what was before. */
export class GuestSessions {
  readonly #queues: GuestQueues
  readonly #tree: Tree
  readonly #options: SessionOptions
  readonly #onFailure: (error: unknown) => void
  #current: Session | undefined
  #open = true
  #wasMounted = false

  /** `onFailure` hears why the guest can no longer be served. */
  constructor(queues: GuestQueues, tree: Tree, options: SessionOptions, onFailure: (error: unknown) => void) {
    this.#queues = queues
    this.#tree = tree
    this.#options = options
    this.#onFailure = onFailure
    this.#current = this.#begin(undefined)
  }

  /** Requests may be waiting. */
  wake(): void {
    this.#current?.channel.wake()
  }

  close(): void {
    this.#open = false
    this.#end()
  }

  #begin(first: Uint8Array | undefined): Session {
    const tree = new GuestTree(this.#tree)
    const release = () => void tree.release()
    const restart = (request: Uint8Array) => setImmediate(() => this.#restart(request))
    const channel = new GuestChannel(this.#queues, first, restart, release)
    const fuse = new FuseSession(channel, tree, { ...this.#options, listAhead: true })
    fuse.start()
    void fuse.ready.then(
      () => this.#mounted(),
      () => {},
    )
    void fuse.closed.then(() => {
      if (this.#current?.fuse === fuse) this.#onFailure(new GuestFault('its session failed'))
    })
    return { fuse, channel, tree }
  }

  /** Told once: a guest may mount as often as it likes. */
  #mounted(): void {
    if (!this.#wasMounted) this.#options.logger.info({}, 'a guest mounted the store')
    this.#wasMounted = true
  }

  #end(): void {
    const session = this.#current
    this.#current = undefined
    session?.fuse.close()
    void session?.tree.release()
  }

  /** The guest mounts again, after a reboot for instance. */
  #restart(request: Uint8Array): void {
    if (!this.#open) return
    try {
      this.#end()
      this.#queues.failAllBut(request)
      this.#current = this.#begin(request)
      this.#current.channel.wake()
    } catch (error) {
      this.#onFailure(error)
    }
  }
}
