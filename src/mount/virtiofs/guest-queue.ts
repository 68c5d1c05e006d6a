import { closeSync, readlinkSync } from 'node:fs'
import { GUEST_QUEUE_SIZE_MAX } from '../../support/limits.ts'
import { HIGH, LITTLE_ENDIAN, LOW } from '../fuse/bytes.ts'
import { nativeAddon, type Watch } from '../fuse/native-addon.ts'
import { IN_HEADER } from '../fuse/protocol.ts'
import { GuestFault } from './guest-fault.ts'

/** One virtqueue as we see it: its descriptors, and what the guest asked through it and waits for. */
export class Queue {
  readonly index: number
  /** Where it begins when it is started. */
  base = 0
  running = false
  enabled = false
  kick: number | undefined
  call: number | undefined
  watch: Watch | undefined
  /** The number that was taken last. */
  taken = 0
  inFlight = 0
  onAnswered: (() => void) | undefined
  /** What the guest calls the request of each number: two halves. */
  readonly uniques = new Uint32Array(GUEST_QUEUE_SIZE_MAX * 2)
  readonly kicks = new Uint8Array(8)
  readonly #waits = new Uint8Array(GUEST_QUEUE_SIZE_MAX)
  /** How often each number was taken, from 1 on: the guest uses a number again once it has its answer, if only an error. */
  readonly #turns = new Uint32Array(GUEST_QUEUE_SIZE_MAX)

  constructor(index: number) {
    this.index = index
  }

  get isActive(): boolean {
    return this.running && this.enabled
  }

  /** The request that has this number now, as one of all that ever had it. */
  turn(number: number): number {
    return this.#turns[number]!
  }

  take(number: number, view: DataView): void {
    this.#turns[number] = (this.turn(number) + 1) >>> 0 || 1
    this.uniques[number * 2] = view.getUint32(IN_HEADER.unique + LOW, LITTLE_ENDIAN)
    this.uniques[number * 2 + 1] = view.getUint32(IN_HEADER.unique + HIGH, LITTLE_ENDIAN)
    this.#waits[number] = 1
    this.inFlight++
  }

  give(number: number): void {
    this.#waits[number] = 0
    if (--this.inFlight === 0) this.onAnswered?.()
  }

  *waiting(): Generator<number> {
    for (let number = 0; this.inFlight > 0 && number < GUEST_QUEUE_SIZE_MAX; number++)
      if (this.#waits[number]) yield number
  }

  stopListening(): void {
    if (this.watch) nativeAddon().unwatch(this.watch)
    if (this.kick !== undefined) closeSync(this.kick)
    this.watch = this.kick = undefined
  }

  close(): void {
    this.stopListening()
    if (this.call !== undefined) closeSync(this.call)
    this.call = undefined
    this.onAnswered?.()
  }
}

/** Writing to anything else might wait, or do who knows what. */
export function mustBeEventfd(fd: number): void {
  if (readlinkSync(`/proc/self/fd/${fd}`) !== 'anon_inode:[eventfd]')
    throw new GuestFault('a descriptor for kicks or calls is no eventfd')
}
