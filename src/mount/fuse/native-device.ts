import fs, { closeSync } from 'node:fs'
import { getSystemErrorName, promisify } from 'node:util'
import { StoreError, systemCode } from '../../support/errors.ts'
import { ANSWERED, type FuseDevice, mayLook, type WhenNone } from './device.ts'
import { type NativeAddon, nativeAddon, type Watch } from './native-addon.ts'
import { Patience } from './patience.ts'
import type { PreparedListings } from './prepared-listings.ts'
import { Errno } from './protocol.ts'

/** The addon takes this many pieces with one reply (UIO_MAXIOV less the header). */
const PIECES_MAX = 1023

const write = promisify(fs.write) as (fd: number, bytes: Uint8Array) => Promise<unknown>

/** The kernel's own end: an open, non-blocking /dev/fuse that is, or will be, mounted. It owns the descriptor. */
export class NativeDevice implements FuseDevice {
  readonly #addon: NativeAddon = nativeAddon()
  readonly #fd: number
  readonly #patience = new Patience()
  #watch: Watch | undefined
  #listings: PreparedListings | undefined
  #onClosed: (() => void) | undefined
  #open = true
  #aside: Promise<void> = Promise.resolve()

  constructor(fd: number) {
    this.#fd = fd
  }

  start(onReadable: () => void, onClosed: () => void): void {
    this.#onClosed = onClosed
    const watch = this.#addon.watch(this.#fd, (status) => (status < 0 ? this.#lost() : onReadable()))
    if (typeof watch === 'number')
      throw new StoreError('internal', `polling /dev/fuse failed: ${getSystemErrorName(watch)}`)
    this.#watch = watch
  }

  answerFrom(listings: PreparedListings): void {
    this.#listings = listings
  }

  receive(buffer: Uint8Array, whenNone: WhenNone): number {
    while (this.#open) {
      const listings = this.#listings
      const patience = this.#patienceOf(whenNone)
      const length = listings
        ? this.#addon.receive(this.#fd, buffer, patience, listings.native, listings.tables)
        : this.#addon.receive(this.#fd, buffer, patience)
      if (length >= 0) {
        this.#patience.received()
        return length === 0 ? ANSWERED : length
      }
      switch (-length) {
        case Errno.EAGAIN:
          if (whenNone !== 'work') this.#patience.gaveUp()
          return 0
        // ENOENT: the request was taken back between the poll and the read.
        case Errno.EINTR:
        case Errno.ENOENT:
          continue
        case Errno.ENODEV:
        case Errno.ECONNABORTED:
          this.#lost()
          return 0
        default:
          throw new StoreError('internal', `reading /dev/fuse failed: ${getSystemErrorName(length)}`)
      }
    }
    return 0
  }

  #patienceOf(whenNone: WhenNone): number {
    return mayLook(whenNone) ? this.#patience.microseconds(whenNone === 'expect') : 0
  }

  send(head: Uint8Array, headLength: number, pieces: readonly Uint8Array[]): boolean {
    if (!this.#open) return false
    const joined = pieces.length > PIECES_MAX ? [Buffer.concat(pieces)] : pieces
    const written = this.#addon.send(this.#fd, head, headLength, joined)
    if (written >= 0) return true
    if (written === -Errno.ENOENT || written === -Errno.ENODEV || written === -Errno.ECONNABORTED)
      return false
    throw new StoreError('internal', `writing /dev/fuse failed: ${getSystemErrorName(written)}`)
  }

  /** In the thread pool: at most one at a time, so that a busy directory cannot take all of its threads. */
  sendAside(notification: Uint8Array): Promise<void> {
    this.#aside = this.#aside.then(() => this.#writeAside(notification))
    return this.#aside
  }

  async #writeAside(notification: Uint8Array): Promise<void> {
    if (!this.#open) return
    try {
      await write(this.#fd, notification)
    } catch (error) {
      // The kernel does not know the name (any more), or the connection ended.
      if (!['ENOENT', 'ENODEV', 'ECONNABORTED', 'ENOTCONN'].includes(systemCode(error) ?? '')) throw error
    }
  }

  openBacking(fd: number): number | undefined {
    const id = this.#addon.backingOpen(this.#fd, fd)
    return id > 0 ? id : undefined
  }

  closeBacking(id: number): void {
    if (this.#open) this.#addon.backingClose(this.#fd, id)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    if (this.#watch) this.#addon.unwatch(this.#watch)
    closeSync(this.#fd)
  }

  #lost(): void {
    const onClosed = this.#onClosed
    this.#onClosed = undefined
    onClosed?.()
  }
}
