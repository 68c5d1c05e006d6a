import { loadAddon } from '../../support/addon.ts'
import { StoreError } from '../../support/errors.ts'
import type { InodeTables } from '../tree/inode-tables.ts'

declare const watchBrand: unique symbol
/** A descriptor that is being polled. */
export interface Watch {
  readonly [watchBrand]: true
}

declare const fillerBrand: unique symbol
/** Threads that fill the page cache. */
export interface Filler {
  readonly [fillerBrand]: true
}

declare const readerBrand: unique symbol
/** Threads that answer reads. */
export interface Reader {
  readonly [readerBrand]: true
}

declare const listingsBrand: unique symbol
/** Listings that are answered on the spot. */
export interface NativeListings {
  readonly [listingsBrand]: true
}

/** native/fuse_device.c, native/page_filler.c and native/chunk_reader.c with its kin: system calls answer with their result, or with a negative errno; none throws. */
export interface NativeAddon {
  /**
   * Looks for something to read for so many microseconds before it says EAGAIN. 0: one of `listings` was asked for, and is
   * answered.
   */
  receive(
    fd: number,
    buffer: Uint8Array,
    patience?: number,
    listings?: NativeListings,
    tables?: InodeTables,
  ): number
  /** See prepared-listings.ts. Its memory is written to while `receive` runs. */
  createListings(reply: Uint8Array, records: Uint8Array, answer: Float64Array): NativeListings | number
  /** With `tables` the listing from its beginning is put together. More than 0: so many bytes of a page that nobody wanted are in `reply`. */
  prepareListing(
    listings: NativeListings,
    inode: number,
    encoded: Uint8Array,
    index: Uint32Array,
    tables: InodeTables | undefined,
  ): number
  send(fd: number, head: Uint8Array, headLength: number, pieces: readonly Uint8Array[]): number
  mount(source: string, target: string, flags: number, options: string): number
  unmount(target: string, flags: number): number
  /** Fills `ends` with both ends of a stream. */
  socketPair(ends: Int32Array): number
  /** Takes a descriptor out of a socket, without waiting. */
  receiveDescriptor(socket: number): number
  /** Id of a file that the kernel reads by itself (FUSE passthrough). */
  backingOpen(device: number, file: number): number
  backingClose(device: number, id: number): number
  /** To a unix socket; a path that begins with @ is in the abstract namespace. */
  sendDatagram(path: string, message: string): number
  /** Calls back with 0 while `fd` is readable, with a negative errno once when it failed. */
  watch(fd: number, callback: (status: number) => void): Watch | number
  unwatch(watch: Watch): void
  /** See page-filler.ts. */
  startFiller(
    device: number,
    kind: string,
    folder: string,
    told: (notFound?: Uint8Array) => void,
  ): Filler | number
  /** Whether so many records more are not too many; if they are, `told` will be called. */
  mayFill(filler: Filler, records: number): boolean
  isFilling(filler: Filler): boolean
  /** `neighbours`: of every `FILL_GROUP` records only the first has its place; `told` is given those that do not lie behind it. */
  fill(filler: Filler, records: Uint8Array, isUrgent: boolean, neighbours: boolean): number
  /** Fills in files, bytes and failures. */
  fillerCounts(filler: Filler, counts: BigUint64Array): number
  /** The filler must not be used afterwards. */
  stopFiller(filler: Filler): Promise<void>
  /** See chunk-reader.ts. */
  startReader(
    device: number,
    kind: string,
    folder: string,
    failed: (uniqueLow: number, uniqueHigh: number, inode: number, offset: number, size: number) => void,
  ): Reader | number
  readChunks(reader: Reader, plan: Uint8Array): number
  /** See memory-reader.ts. */
  startMemoryReader(
    kind: string,
    folder: string,
    filled: (ticket: number, isFilled: boolean) => void,
  ): Reader | number
  /** 1: it is there; 0: `filled` will tell. */
  readInto(reader: Reader, plan: Uint8Array, into: Uint8Array): number
  /** Loads what a plan wants parts of, unless enough of that is being done. */
  keepAhead(reader: Reader, plan: Uint8Array): number
  readerBytes(reader: Reader): number
  /** The reader must not be used afterwards. */
  stopReader(reader: Reader): Promise<void>
}

let loaded: NativeAddon | undefined

export function nativeAddon(): NativeAddon {
  loaded ??= load()
  return loaded
}

function load(): NativeAddon {
  try {
    return loadAddon('fuse_device') as NativeAddon
  } catch (error) {
    throw new StoreError(
      'unimplemented',
      'mounting needs the native addon, which is not built; build it with: npm run build:native',
      { cause: error },
    )
  }
}
