import { loadAddon } from '../../support/addon.ts'
import { StoreError } from '../../support/errors.ts'

declare const deviceBrand: unique symbol
/** Memory and queues of one guest. */
export interface VhostDevice {
  readonly [deviceBrand]: true
}

/** native/vhost_user.c: calls answer with their result, or with a negative errno; none throws. */
export interface VhostAddon {
  /** A listening socket, not blocking, with the permissions that the umask leaves. */
  listen(path: string): number
  accept(listener: number): number
  /** Fills `buffer` from `from` up to `to` as far as there is something; `files[0]` counts the descriptors behind it. */
  receive(socket: number, buffer: Uint8Array, from: number, to: number, files: Int32Array): number
  send(socket: number, bytes: Uint8Array): number
  notify(eventfd: number): number
  createDevice(): VhostDevice | number
  /** Four numbers a region: the guest's address, size, the front-end's address, offset in the file. */
  setMemory(device: VhostDevice, table: BigUint64Array, files: Int32Array): number
  /** `addresses`, of the front-end: descriptors, available ring, used ring. */
  startQueue(
    device: VhostDevice,
    index: number,
    size: number,
    base: number,
    indirect: boolean,
    eventIndex: boolean,
    addresses: BigUint64Array,
  ): number
  /** Where to begin when it is started again. */
  stopQueue(device: VhostDevice, index: number): number
  /** From now on this is the answer to a request for that page of a listing, once, in queues that `answerBy` named; or -errno. */
  keepPage(
    device: VhostDevice,
    place: number,
    inode: number,
    from: number,
    size: number,
    bytes: Uint8Array,
  ): number
  dropPage(device: VhostDevice, place: number): void
  /** The eventfd by which the guest is told of pages that it was given from this queue; -1: it is given none. */
  answerBy(device: VhostDevice, index: number, call: number): void
  /**
   * The number of the request, `QUEUE_EMPTY`, `ANSWERED_BY_PAGE`, or a fault; `out`: its length, and the room for its reply, or the
   * place of the page.
   */
  take(device: VhostDevice, index: number, buffer: Uint8Array, out: Uint32Array): number
  /** 1: the guest wants to be notified; 0: it does not; or one of the results below. */
  give(
    device: VhostDevice,
    index: number,
    number: number,
    head: Uint8Array,
    headLength: number,
    pieces: readonly Uint8Array[],
  ): number
  /** Asks to be kicked for the next request; 1: there is one already. */
  awaitRequests(device: VhostDevice, index: number): number
  /**
   * `FOUND` as soon as there is a request, which the guest does not notify us of, or `ANSWERED_BY_PAGE`; `FOUND_NOTHING` after that
   * time, and when the event loop has something to do, or somebody else needed the processor. `out`: the microseconds it took, and
   * the place of the page.
   */
  look(device: VhostDevice, microseconds: number, out: Uint32Array): number
  /** The device must not be used afterwards. */
  closeDevice(device: VhostDevice): void
  /** See native/confine.h. */
  confine(): number
  /** See native/give_way.h. */
  giveWay(): void
}

/** As in native/virtqueue.h. */
export const QUEUE_EMPTY = -100
export const REPLY_TOO_LONG = -101
export const NO_SUCH_REQUEST = -102
/** As in native/vhost_user.c. */
export const ANSWERED_BY_PAGE = -103
export const FOUND_NOTHING = 0
export const FOUND = 1

/** Parts that `give` takes behind the head. */
export const PIECES_MAX = 1023

/** What makes a queue unusable: `enum queue_fault` of native/virtqueue.h, from 1 on. */
const QUEUE_FAULTS = [
  'its memory was taken away',
  'the index of available requests is further ahead than the queue is long',
  'a request begins outside the table of descriptors',
  'a request is made again that was not answered yet',
  'a descriptor leads outside its table',
  'a chain of descriptors does not end',
  'a buffer is empty',
  'a buffer lies outside the memory',
  'a buffer to read follows one to write',
  'the buffers of a request are too large together',
  'there is an indirect table though that was not agreed on',
  'there is an indirect table in an indirect table',
  'something follows an indirect table',
  'an indirect table has an impossible length',
  'an indirect table lies outside the memory',
  'there is no memory left here for its requests',
] as const

/** What a negative result of a queue means. */
export function queueFault(result: number): string {
  return QUEUE_FAULTS[-result - 1] ?? `fault ${-result}`
}

let loaded: VhostAddon | undefined

export function vhostAddon(): VhostAddon {
  loaded ??= load()
  return loaded
}

function load(): VhostAddon {
  try {
    return loadAddon('vhost_user') as VhostAddon
  } catch (error) {
    throw new StoreError(
      'unimplemented',
      'serving guests needs the native addon, which is not built; build it with: npm run build:native',
      { cause: error },
    )
  }
}
