import type { BufferRooms } from '../../support/buffer-rooms.ts'
import type { Call } from '../../support/call.ts'
import type { StoreError } from '../../support/errors.ts'

/** A half-open range of bytes. */
export interface ByteRange {
  readonly start: number
  /** Past the end of the object: cut to it. */
  readonly end: number
}

export interface GetCall extends Call {
  readonly range?: ByteRange | undefined
  /** For who needs the object for a moment only, and gives it back: it may then lie in one of these. */
  readonly rooms?: BufferRooms | undefined
}

/**
 * Keyed bytes in a bucket, a folder or memory; knows nothing of what is stored. Keys are relative, made of
 * `/`-separated parts from `[A-Za-z0-9._-]`, chosen by us and never by a stranger.
 */
export interface ObjectStore {
  /** A name for messages: the address without credentials. */
  readonly name: string

  /** The whole object, or a part; `undefined` when it is absent. */
  get(key: string, call?: GetCall): Promise<Uint8Array | undefined>

  /** The size in bytes; `undefined` when it is absent. */
  head(key: string, call?: Call): Promise<number | undefined>

  /** Which of many objects there are, for a fraction of what `head` of each costs; not every store can. */
  readonly hasBelow?: HasBelow | undefined

  /**
   * Stores it durably and all at once: a reader sees the whole object or none. With `ifAbsent` an existing
   * object is left as it is (contents under one key never differ, so this saves work and changes nothing).
   */
  put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void>

  /** Many small objects for a fraction of what putting each costs; not every store can. */
  readonly putMany?: PutMany | undefined

  /** Whether what one call of `putMany` stores becomes visible all at once, or none of it does. */
  readonly showsTogether?: boolean | undefined

  /** The keys that begin with `prefix`, in any order. */
  list(prefix: string, call?: Call): AsyncIterable<string>

  /** Removing what is absent succeeds. */
  delete(key: string, call?: Call): Promise<void>
}

/**
 * Of the objects `<prefix>/<4 hex>/<64 hex>`, which are named by the 32 bytes that the latter stand for, one behind the other:
 * 1 for each that is there and 0 for each that is not, in their order.
 */
export type HasBelow = (prefix: string, digests: Uint8Array, call?: Call) => Promise<Uint8Array>

export interface NewObject {
  readonly key: string
  readonly body: Uint8Array
}

/**
 * Stores those that are absent, each durably and all at once. With `zstd` what is stored of each is a zstd frame of it; of an
 * empty one nothing.
 * All are durable when it resolves, but for those that it has an error for, in their order. The bodies must stay
 * unchanged until then, which a signal does not shorten: it only keeps what was not begun from beginning.
 */
export type PutMany = (
  objects: readonly NewObject[],
  call?: PutManyCall,
) => Promise<readonly (StoreError | undefined)[]>

export interface PutManyCall extends Call {
  readonly zstd?: boolean | undefined
}
