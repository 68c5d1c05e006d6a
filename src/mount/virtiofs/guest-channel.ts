import type { DevicePages, FuseDevice, WhenNone } from '../fuse/device.ts'
import { Opcode } from '../fuse/protocol.ts'
import type { GuestQueues } from './guest-queues.ts'

/**
 * What one FUSE session sees of a guest's queues: from an INIT to the next one, since a guest that mounts again knows
 * nothing of what was before.
 */
export class GuestChannel implements FuseDevice {
  readonly takesNotifications = false
  readonly #queues: GuestQueues
  readonly #onInit: (request: Uint8Array) => void
  readonly #onDestroy: () => void
  #onReadable: (() => void) | undefined
  #first: Uint8Array | undefined
  #open = true
  #used = false

  /** `first`: a request that was taken already. `onInit` gets the INIT that ends this channel. */
  constructor(
    queues: GuestQueues,
    first: Uint8Array | undefined,
    onInit: (request: Uint8Array) => void,
    onDestroy: () => void,
  ) {
    this.#queues = queues
    this.#first = first
    this.#onInit = onInit
    this.#onDestroy = onDestroy
  }

  start(onReadable: () => void): void {
    this.#onReadable = onReadable
  }

  get pages(): DevicePages {
    return this.#queues
  }

  wake(): void {
    this.#onReadable?.()
  }

  receive(buffer: Uint8Array, whenNone: WhenNone): number {
    if (!this.#open) return 0
    const first = this.#first
    if (first) {
      buffer.set(first)
      this.#first = undefined
      this.#used = true
      return first.length
    }
    const taken = this.#queues.take(buffer, whenNone)
    if (!taken) return 0
    if (taken.opcode === Opcode.INIT && this.#used) {
      this.#open = false
      this.#onInit(buffer.slice(0, taken.length))
      return 0
    }
    this.#used = true
    if (taken.opcode === Opcode.DESTROY) this.#onDestroy()
    return taken.length
  }

  send(head: Uint8Array, headLength: number, pieces: readonly Uint8Array[]): boolean {
    return this.#open && this.#queues.give(head, headLength, pieces)
  }

  close(): void {
    this.#open = false
  }
}
