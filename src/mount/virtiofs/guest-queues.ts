import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { StoreError } from '../../support/errors.ts'
import { GUEST_QUEUES_MAX, GUEST_REQUESTS_MAX, GUEST_STOP_MS_MAX } from '../../support/limits.ts'
import { dataView, HIGH, LITTLE_ENDIAN, LOW } from '../fuse/bytes.ts'
import { ANSWERED, type DevicePages, mayLook, type WhenNone } from '../fuse/device.ts'
import { nativeAddon } from '../fuse/native-addon.ts'
import { Errno, IN_HEADER, Opcode, OUT_HEADER } from '../fuse/protocol.ts'
import { GuestFault } from './guest-fault.ts'
import type { GuestPatience } from './guest-patience.ts'
import { mustBeEventfd, Queue } from './guest-queue.ts'
import {
  ANSWERED_BY_PAGE,
  FOUND,
  FOUND_NOTHING,
  NO_SUCH_REQUEST,
  PIECES_MAX,
  QUEUE_EMPTY,
  queueFault,
  REPLY_TOO_LONG,
  type VhostAddon,
  type VhostDevice,
  vhostAddon,
} from './vhost-addon.ts'

/** What the front-end says of a queue before it starts. */
export interface QueueSettings {
  readonly size: number
  readonly base: number
  readonly indirect: boolean
  readonly eventIndex: boolean
  /** Of the front-end: descriptors, available ring, used ring. */
  readonly addresses: BigUint64Array
}

export interface QueueEvents {
  /** Requests may be waiting. */
  onReadable(): void
  /** The guest did what no honest one does; nothing is served any more. */
  onFault(fault: GuestFault): void
  /** So much processor time went into looking for a request. */
  onLooked(microseconds: number): void
}

/** A request that was taken; its bytes lie in the buffer, unless its length is `ANSWERED`. */
interface Taken {
  readonly opcode: number
  readonly length: number
}

/**
 * The virtqueues of one guest, and the memory they lie in. Requests come out, each under an id of ours in the place of
 * the guest's `unique`, which may be anything; replies go in by that id.
 */
export class GuestQueues implements DevicePages {
  readonly #addon: VhostAddon = vhostAddon()
  readonly #device: VhostDevice
  readonly #events: QueueEvents
  readonly #patience: GuestPatience
  readonly #queues: (Queue | undefined)[] = []
  /** Length of the request that was taken, and the room for its reply. */
  readonly #sizes = new Uint32Array(2)
  /** How long was looked, and the page that was given meanwhile. */
  readonly #looked = new Uint32Array(2)
  #bufferView: DataView | undefined
  #inFlight = 0
  /** Where the next search for a request begins. */
  #turn = 0
  /** Every queue is empty and will be heard of. */
  #idle = true
  #wakes = false
  #looks = false
  /** What was found was not taken yet. */
  #found = false
  /** The place of a page that was given, and was not told of yet. */
  #untold: number | undefined
  #given = 0
  #dead = false

  constructor(events: QueueEvents, patience: GuestPatience) {
    const device = this.#addon.createDevice()
    if (typeof device === 'number')
      throw new StoreError('internal', `no device for a guest: ${getSystemErrorName(device)}`)
    this.#device = device
    this.#events = events
    this.#patience = patience
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Four numbers a region, as `VhostAddon.setMemory` has it. The descriptors stay the caller's. */
  setMemory(table: BigUint64Array, files: readonly number[]): void {
    const failed = this.#addon.setMemory(this.#device, table, Int32Array.from(files))
    if (failed === 0) return
    if (failed === -Errno.ENOTSUP)
      throw new GuestFault('its memory is no memfd, tmpfs or hugetlbfs; share it by memory-backend-memfd')
    throw new GuestFault(`its memory cannot be mapped: ${getSystemErrorName(failed)}`)
  }

  /** From now on the queue is listened to, with `kick` (which is ours then). */
  start(index: number, settings: QueueSettings, kick: number): void {
    const queue = this.#queue(index)
    if (queue.running) {
      closeSync(kick)
      throw new GuestFault(`queue ${index} is started twice`)
    }
    queue.kick = kick
    mustBeEventfd(kick)
    const { size, base, indirect, eventIndex, addresses } = settings
    const failed = this.#addon.startQueue(this.#device, index, size, base, indirect, eventIndex, addresses)
    if (failed < 0) throw new GuestFault(`queue ${index} cannot lie where it is said to`)
    const watch = nativeAddon().watch(kick, (status) => {
      if (status < 0) return this.#fail(new GuestFault(`the kicks of queue ${index} failed`))
      nativeAddon().receive(kick, queue.kicks)
      this.#wake()
    })
    if (typeof watch === 'number') throw new GuestFault(`queue ${index} cannot be listened to`)
    queue.watch = watch
    queue.running = true
    this.#wake()
  }

  /** How the guest is told of replies; `undefined`: not at all. The descriptor is ours then. */
  setCall(index: number, call: number | undefined): void {
    const queue = this.#queue(index)
    this.#addon.answerBy(this.#device, index, NO_CALL)
    if (queue.call !== undefined) closeSync(queue.call)
    queue.call = call
    if (call !== undefined) mustBeEventfd(call)
    this.#answerBy(queue)
  }

  enable(index: number, enabled: boolean): void {
    const queue = this.#queue(index)
    queue.enabled = enabled
    this.#answerBy(queue)
    this.#wake()
  }

  /** Pages are for queues that JavaScript would take requests from. */
  #answerBy(queue: Queue): void {
    this.#addon.answerBy(this.#device, queue.index, queue.enabled ? (queue.call ?? NO_CALL) : NO_CALL)
  }

  isRunning(index: number): boolean {
    return this.#queues[index]?.running ?? false
  }

  /** Stops it when what was taken from it is answered, for better or worse; where it would go on. */
  async stop(index: number): Promise<number> {
    const queue = this.#queue(index)
    if (!queue.running) return queue.base
    queue.stopListening()
    queue.enabled = false
    this.#answerBy(queue)
    if (queue.inFlight > 0) await this.#answered(queue)
    if (this.#dead) return 0
    this.#failRequests(queue)
    queue.running = false
    queue.base = this.#addon.stopQueue(this.#device, index)
    return queue.base
  }

  /** Remembers where a queue that is not running is to begin. */
  setBase(index: number, base: number): void {
    this.#queue(index).base = base
  }

  base(index: number): number {
    return this.#queue(index).base
  }

  /**
   * Copies the next request into `buffer`. `undefined`: there is none, and `onReadable` will tell. `whenNone` is that of
   * `FuseDevice.receive`.
   */
  take(buffer: Uint8Array, whenNone: WhenNone): Taken | undefined {
    if (this.#bufferView?.buffer !== buffer.buffer) this.#bufferView = dataView(buffer)
    while (!this.#dead) {
      const queue = this.#untold === undefined ? this.#takeFromAny(buffer) : undefined
      if (this.#untold !== undefined) return this.#tellAnswered(this.#untold)
      if (!queue) {
        // Whoever has something else to do asks again when it is done.
        if (this.#dead || whenNone === 'work' || this.#lookSoon(whenNone) || !this.#listen()) break
        continue
      }
      try {
        const taken = this.#accept(queue, this.#bufferView, buffer.length)
        if (taken) return taken
      } catch (error) {
        if (!(error instanceof GuestFault)) throw error
        this.#fail(error)
      }
    }
    return undefined
  }

  /**
   * Answers a request; the id in `head` is replaced. False when the guest does not want it any more, or got an error
   * in its place since it left no room.
   */
  give(head: Uint8Array, headLength: number, pieces: readonly Uint8Array[]): boolean {
    if (this.#dead) return false
    const view = dataView(head)
    const id = view.getUint32(OUT_HEADER.unique + LOW, LITTLE_ENDIAN)
    const queue = this.#queues[id >>> 16]
    const number = id & 0xffff
    // Another one has this number by now, if its queue was stopped while the store was asked.
    if (!queue?.running || queue.turn(number) !== view.getUint32(OUT_HEADER.unique + HIGH, LITTLE_ENDIAN))
      return false
    view.setUint32(OUT_HEADER.unique + LOW, queue.uniques[number * 2]!, LITTLE_ENDIAN)
    view.setUint32(OUT_HEADER.unique + HIGH, queue.uniques[number * 2 + 1]!, LITTLE_ENDIAN)
    const joined = pieces.length > PIECES_MAX ? [Buffer.concat(pieces)] : pieces
    const result = this.#giveTo(queue, number, head, headLength, joined)
    if (result !== REPLY_TOO_LONG) return result >= 0
    this.#giveError(queue, number, Errno.EIO)
    return false
  }

  keep(place: number, inode: number, cookie: number, size: number, bytes: Uint8Array): void {
    // A page that has no memory is put together when it is asked for.
    this.#addon.keepPage(this.#device, place, inode, cookie, size, bytes)
  }

  drop(place: number): void {
    this.#addon.dropPage(this.#device, place)
  }

  get given(): number {
    return this.#given
  }

  #tellAnswered(place: number): Taken {
    this.#untold = undefined
    this.#found = false
    this.#given = place
    this.#patience.received()
    return { opcode: Opcode.READDIRPLUS, length: ANSWERED }
  }

  /** Answers everything but one request, which was taken last, with an error: whoever would have answered is gone. */
  failAllBut(request: Uint8Array): void {
    const id = dataView(request).getUint32(IN_HEADER.unique + LOW, LITTLE_ENDIAN)
    for (const queue of this.#queues) if (queue?.running && !this.#dead) this.#failRequests(queue, id)
  }

  /** Lets go of the guest: nothing of it is mapped or open after this. Idempotent. */
  close(): void {
    this.#dead = true
    for (const queue of this.#queues) queue?.close()
    this.#queues.length = 0
    this.#addon.closeDevice(this.#device)
  }

  #queue(index: number): Queue {
    if (index >= GUEST_QUEUES_MAX) throw new GuestFault(`there is no queue ${index}`)
    this.#queues[index] ??= new Queue(index)
    return this.#queues[index]
  }

  /** Requests of high priority first, the others in turn. */
  #takeFromAny(buffer: Uint8Array): Queue | undefined {
    const queues = this.#queues
    for (let i = 0; i <= queues.length; i++) {
      const index = i === 0 ? 0 : (this.#turn + i) % queues.length
      const queue = queues[index]
      if (!queue?.isActive || (index > 0 && this.#inFlight >= GUEST_REQUESTS_MAX)) continue
      const number = this.#addon.take(this.#device, index, buffer, this.#sizes)
      if (number === QUEUE_EMPTY) continue
      this.#turn = index
      if (number === ANSWERED_BY_PAGE) {
        this.#untold = this.#sizes[0]
        return undefined
      }
      if (number < 0) {
        this.#fail(new GuestFault(queueFault(number)))
        return undefined
      }
      queue.taken = number
      return queue
    }
    return undefined
  }

  /** Asks to be kicked; true when there is a request already. */
  #listen(): boolean {
    let more = false
    for (const queue of this.#queues) {
      if (!queue?.isActive || (queue.index > 0 && this.#inFlight >= GUEST_REQUESTS_MAX)) continue
      const result = this.#addon.awaitRequests(this.#device, queue.index)
      if (result < 0) {
        this.#fail(new GuestFault(queueFault(result)))
        return false
      }
      more ||= result > 0
    }
    this.#idle = !more
    if (!more) this.#patience.gaveUp()
    return more
  }

  /** True: the next request will be looked for, after what is to be prepared for it. */
  #lookSoon(whenNone: WhenNone): boolean {
    if (!mayLook(whenNone)) return false
    // It lies in a queue that is not enabled: looking would find it again and again.
    const microseconds = this.#found ? 0 : this.#patience.microseconds(whenNone === 'expect')
    this.#found = false
    if (microseconds === 0) return false
    this.#idle = true
    if (!this.#looks) setImmediate(() => this.#look(microseconds))
    this.#looks = true
    return true
  }

  #look(microseconds: number): void {
    this.#looks = false
    // Somebody else served the queues meanwhile, and will look.
    if (this.#dead || !this.#idle) return
    const outcome = this.#addon.look(this.#device, microseconds, this.#looked)
    this.#events.onLooked(this.#looked[0]!)
    this.#found = outcome === FOUND
    if (outcome === ANSWERED_BY_PAGE) this.#untold = this.#looked[1]
    if (outcome !== FOUND_NOTHING || this.#listen()) this.#wake()
  }

  /** The request that `queue` gave; `undefined` when nobody needs to see it. */
  #accept(queue: Queue, view: DataView, capacity: number): Taken | undefined {
    const [total = 0, room = 0] = this.#sizes
    const number = queue.taken
    if (total < IN_HEADER.bytes) throw new GuestFault('a request is shorter than its header')
    const length = view.getUint32(IN_HEADER.length, LITTLE_ENDIAN)
    if (length < IN_HEADER.bytes || length > total)
      throw new GuestFault('the length in the header of a request is not that of the request')
    const opcode = view.getUint32(IN_HEADER.opcode, LITTLE_ENDIAN)
    queue.take(number, view)
    this.#patience.received()
    this.#found = false
    this.#inFlight++
    if (WITHOUT_REPLY.has(opcode)) {
      if (length > capacity) throw new GuestFault('a request without a reply is too long')
      this.#giveTo(queue, number, NOTHING, 0, [])
      // An interrupt names a request by what the guest calls it; Linux sends none over virtio-fs.
      return opcode === Opcode.INTERRUPT ? undefined : { opcode, length }
    }
    if (room < OUT_HEADER.bytes) throw new GuestFault('a request has no room for the header of its reply')
    if (length > capacity) {
      this.#giveError(queue, number, Errno.E2BIG)
      return undefined
    }
    view.setUint32(IN_HEADER.unique + LOW, idOf(queue, number), LITTLE_ENDIAN)
    view.setUint32(IN_HEADER.unique + HIGH, queue.turn(number), LITTLE_ENDIAN)
    return { opcode, length }
  }

  #giveTo(
    queue: Queue,
    number: number,
    head: Uint8Array,
    headLength: number,
    pieces: readonly Uint8Array[],
  ): number {
    const result = this.#addon.give(this.#device, queue.index, number, head, headLength, pieces)
    if (result === REPLY_TOO_LONG || result === NO_SUCH_REQUEST) return result
    if (result < 0) {
      this.#fail(new GuestFault(queueFault(result)))
      return result
    }
    if (result > 0 && queue.call !== undefined) this.#addon.notify(queue.call)
    queue.give(number)
    // What had to wait for this one in the guest's queues is looked at again.
    if (this.#inFlight-- === GUEST_REQUESTS_MAX) this.#wakeSoon()
    return result
  }

  #giveError(queue: Queue, number: number, errno: number): void {
    const head = new Uint8Array(OUT_HEADER.bytes)
    const view = dataView(head)
    view.setUint32(OUT_HEADER.length, OUT_HEADER.bytes, LITTLE_ENDIAN)
    view.setInt32(OUT_HEADER.error, -errno, LITTLE_ENDIAN)
    view.setUint32(OUT_HEADER.unique + LOW, queue.uniques[number * 2]!, LITTLE_ENDIAN)
    view.setUint32(OUT_HEADER.unique + HIGH, queue.uniques[number * 2 + 1]!, LITTLE_ENDIAN)
    this.#giveTo(queue, number, head, head.length, [])
  }

  #failRequests(queue: Queue, except?: number): void {
    for (const number of queue.waiting())
      if (idOf(queue, number) !== except) this.#giveError(queue, number, Errno.EIO)
  }

  async #answered(queue: Queue): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, GUEST_STOP_MS_MAX)
    queue.onAnswered = resolve
    await promise
    clearTimeout(timer)
    queue.onAnswered = undefined
  }

  #wake(): void {
    this.#idle = false
    if (this.#wakes || this.#dead) return
    this.#events.onReadable()
    // It may have stopped before the queues were empty, so that others are served in between.
    if (!this.#idle) this.#wakeSoon()
  }

  /** Not at once: whoever gives a reply is in the middle of serving. */
  #wakeSoon(): void {
    this.#idle = false
    if (this.#wakes || this.#dead) return
    this.#wakes = true
    setImmediate(() => {
      this.#wakes = false
      if (!this.#idle) this.#wake()
    })
  }

  /** In the middle of serving: those who are at it find nothing more, and the end comes after them. */
  #fail(fault: GuestFault): void {
    if (this.#dead) return
    this.#dead = true
    setImmediate(() => this.#events.onFault(fault))
  }
}

/** The lower half of the id of a request; the upper one is its turn, so that no id is that of a notification, 0. */
function idOf(queue: Queue, number: number): number {
  return (queue.index << 16) | number
}

const NOTHING = new Uint8Array(0)
const NO_CALL = -1
const WITHOUT_REPLY: ReadonlySet<number> = new Set([Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT])
