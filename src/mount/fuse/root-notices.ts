import { MOUNT_ROOT_LISTING_MS } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { FuseDevice } from './device.ts'
import type { InFlight } from './in-flight.ts'
import { ROOT_NODE } from './protocol.ts'
import { invalidEntry } from './reply.ts'

/**
 * Tells the kernel what it must not believe of the root any more: below store paths everything is as it was for ever, but in the root
 * paths come and go.
 */
export class RootNotices {
  readonly #device: FuseDevice
  readonly #inFlight: InFlight
  readonly #logger: Logger
  readonly #dropListing: () => void
  /** Names that the kernel is to forget, and how many it is being told of. */
  readonly #gone: Uint8Array[] = []
  #telling = 0
  #listed: NodeJS.Timeout | undefined

  /** `dropListing` tells the kernel to drop its listing of the root. */
  constructor(device: FuseDevice, inFlight: InFlight, logger: Logger, dropListing: () => void) {
    this.#device = device
    this.#inFlight = inFlight
    this.#logger = logger
    this.#dropListing = dropListing
  }

  /** A notification is on its way, or waits for lookups to end. */
  get isTelling(): boolean {
    return this.#telling > 0
  }

  /**
   * The kernel asks again for this name. For that it waits until nobody looks for a name in the root, and who begins to
   * meanwhile waits behind it: so it is told when nobody is waiting for an answer of ours.
   */
  forget(name: Uint8Array): void {
    this.#gone.push(name)
    this.tell()
  }

  /** An answer was given: perhaps it was what a name waited for. */
  tell(): void {
    if (this.#gone.length === 0 || this.#inFlight.looksUpInRoot) return
    for (const name of this.#gone.splice(0)) void this.#forgetEntry(name)
  }

  /**
   * Without OPENDIR the kernel keeps listings for ever. That is right below store paths; in the root new paths
   * appear, so its listing is dropped again a moment after it was given out.
   */
  listed(): void {
    this.#listed ??= setTimeout(() => {
      this.#listed = undefined
      this.#dropListing()
    }, MOUNT_ROOT_LISTING_MS)
  }

  close(): void {
    this.#gone.length = 0
    clearTimeout(this.#listed)
  }

  /** Written beside the replies: a lookup that began this moment would wait for us, and we for it. */
  async #forgetEntry(name: Uint8Array): Promise<void> {
    this.#telling++
    try {
      await this.#device.sendAside?.(invalidEntry(ROOT_NODE, name))
    } catch (error) {
      this.#logger.warn({ err: error }, 'the kernel keeps a store path that is gone')
    }
    this.#telling--
  }
}
