import type { PreparedListings } from './prepared-listings.ts'

/** In the place of the length of a request: it was for what the device has by `answerFrom` or `pages`, and has its answer. */
export const ANSWERED = -1

/**
 * What comes when no request is waiting: something else that is to be done, or sleep until there is one. `look`: nothing is being worked
 * on, so the device may look for some microseconds for one that is about to come. `expect`: and it is known that one will come soon.
 */
export type WhenNone = 'work' | 'sleep' | 'look' | 'expect'

export function mayLook(whenNone: WhenNone): boolean {
  return whenNone === 'look' || whenNone === 'expect'
}

/** Pages of listings that a device gives by itself when they are asked for, each once. */
export interface DevicePages {
  /** The page of `inode` from `cookie` on for a request of that `size`; a copy of `bytes` is made. `place`: up to `LISTINGS_AHEAD_MAX`. */
  keep(place: number, inode: number, cookie: number, size: number, bytes: Uint8Array): void
  drop(place: number): void
  /** Which one was given, when `receive` said `ANSWERED`. */
  readonly given: number
}

/**
 * The kernel end of a mount: requests come out of it, replies and notifications go into it, in the framing of
 * linux/fuse.h. The session above knows the protocol; the device only moves bytes.
 */
export interface FuseDevice {
  /** False where the kernel takes replies only, and cannot be told that something changed: over virtio-fs. */
  readonly takesNotifications?: boolean
  /**
   * Calls `onReadable` on the event loop whenever requests may be waiting, and `onClosed` once when the kernel
   * ended the connection (unmounted, aborted).
   */
  start(onReadable: () => void, onClosed: () => void): void
  /**
   * Copies the next request into `buffer`; its length, or `ANSWERED`, or 0 when none is waiting (or the device is closed).
   */
  receive(buffer: Uint8Array, whenNone: WhenNone): number
  readonly pages?: DevicePages
  /** From now on the device answers by itself what `listings` has. */
  answerFrom?(listings: PreparedListings): void
  /**
   * Writes one reply or notification in one piece: the first `headLength` bytes of `head`, then `pieces`. The
   * memory is the caller's again when this returns. Returns false when the kernel no longer wants it (the
   * request is gone, the connection ended); throws on anything else.
   */
  send(head: Uint8Array, headLength: number, pieces: readonly Uint8Array[]): boolean
  /**
   * The same for a notification that waits in the kernel until calls have ended that wait for replies of ours: it is written
   * beside everything else. A device without this cannot send such.
   */
  sendAside?(notification: Uint8Array): Promise<void>
  /**
   * An id under which the kernel reads the open file `fd` by itself; the file may be closed afterwards. `undefined`: this
   * process may not (it takes CAP_SYS_ADMIN), or the file is of no use for it.
   */
  openBacking?(fd: number): number | undefined
  /** Only when no file is open any more that was opened with the id: whoever opens one just then would get EIO. */
  closeBacking?(id: number): void
  /** Stops polling and closes the connection: whoever still waits in the kernel gets ENOTCONN. */
  close(): void
}
