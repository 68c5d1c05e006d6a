import type { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import type { LocalChunkSource } from './chunk-places.ts'

/** One piece of a blob; it is itself readable under its digest. */
export interface ChunkMeta {
  readonly digest: Digest
  /** Bytes, at least 1. */
  readonly size: number
}

/** A blob of which a directory or chunk list says how large it is. */
export interface SizedBlob {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** … and where in a buffer it is wanted. */
export interface PlacedBlob extends SizedBlob {
  /** Of its first byte. */
  readonly offset: number
}

export type ReadInto = (
  target: Uint8Array,
  wanted: readonly PlacedBlob[],
  call?: Call,
) => Promise<readonly PlacedBlob[]>

export type ReadChunk = (chunk: ChunkMeta, call?: Call) => Promise<Uint8Array | undefined>

/**
 * The contents of a blob, in order, in pieces of any size above 0 bytes. Read once. Leaving the loop early
 * releases the source. The pieces belong to the reader: nobody writes to them afterwards.
 */
export interface BlobStream extends AsyncIterable<Uint8Array> {
  /**
   * A reader that is done with a piece may say so, where this is: what comes later is read into the same memory then, which is
   * in the processor's cache. A layer passes it on only if it keeps no piece, and shows none to anybody else.
   */
  giveBack?(piece: Uint8Array): void
}

/**
 * Byte sequences under their BLAKE3 digest (spec §1.3). Backends store and fetch and never verify: the
 * verifying layer does, in one place. The digest of a chunk reads like the digest of a blob.
 *
 * Random access is built on `chunks` and `openRead` (see chunk-reader.ts); it is no backend's business.
 */
export interface BlobService {
  has(digest: Digest, call?: Call): Promise<boolean>

  /** The same of many, in their order, for a fraction of what asking for each costs; not every service can (see has-many.ts). */
  readonly hasMany?: ((digests: readonly Digest[], call?: Call) => Promise<readonly boolean[]>) | undefined

  /**
   * How the blob divides into chunks, in order, covering it exactly. `[]` when it exists but is only to be had
   * as a whole; `undefined` when it is absent.
   */
  chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined>

  /** `undefined` when the blob is absent. */
  openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined>

  /**
   * Puts small blobs into their places in a buffer, for a fraction of what opening each costs; not every service can.
   * Resolves with those that it could not give this way, whatever the reason: `openRead` gives them, or tells; what lies
   * in their places means nothing. The others have been compared with their digests, by this service itself: it does that
   * where they were read, off the thread of JavaScript. Nobody may touch the places until this has settled.
   */
  readonly readInto?: ReadInto | undefined

  /**
   * A chunk of a blob, compared with its digest as `readInto` does it, off the thread of JavaScript; not every service can.
   * `undefined`: `openRead` gives it, or tells why not. Throws what asking for it did.
   */
  readonly readChunk?: ReadChunk | undefined

  /** Where its chunks lie on this machine, for who reads and compares them past the services. Layers do not pass it on. */
  readonly localChunks?: LocalChunkSource | undefined

  /** Where small blobs are stored in batches, a way to them that costs a fraction of a writer. */
  readonly smallWrites?: SmallWrites | undefined

  /** Whether a writer's digest is computed in this process, of the bytes that were written: no need to do it again. */
  readonly digestsWrites?: boolean | undefined

  /** Starts storing a blob. It becomes visible when `close` succeeds, and not before. */
  openWrite(call?: Call): BlobWriter
}

export interface SmallWrites {
  /** So many may well be on their way at the same time. */
  readonly atOnceMax: number
  /** Of a blob, in bytes; larger ones go through `openWrite`. */
  readonly bytesMax: number
  /**
   * Resolves when the blob is stored durably; it becomes visible then, and not before. `digest`: of these very bytes, computed
   * in this process, for nobody does so again. They must not change any more, whatever becomes of the call: they may be on
   * their way for somebody else who stores the same.
   */
  put(digest: Digest, contents: Uint8Array, call?: Call): Promise<void>
}

/** Takes the bytes of one blob. After a rejected `write` or `close` only `abort` may be called. */
export interface BlobWriter {
  /**
   * Resolves when the writer wants more (backpressure: await it). The bytes must stay unchanged until `close`
   * or `abort` has settled.
   */
  write(bytes: Uint8Array): Promise<void>

  /** Resolves with the digest once the blob is stored durably; closing again gives the same digest. */
  close(): Promise<Digest>

  /** Gives up; nothing becomes visible. Does nothing after `close`. */
  abort(): Promise<void>
}
